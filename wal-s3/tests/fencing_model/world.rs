//! The bounds of a configuration, the rules, and the ways to break them.

use crate::explore::{Name, Steps};
use crate::state::{EPOCHS, Key, Kind, SLOTS, State, bit, epoch_of, key, number_of};

/// A rule that is left out or done wrong: each must be found out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    AcknowledgeOutOfOrder,
    SealBehindTheLastKnown,
    NextNumberAfterConflict,
    DeleteSeals,
    ConflictIsSuccess,
    NoSecondLook,
    ReaderWithoutSecondLook,
    OwnWithoutSealing,
    EmptyEpochNotSealed,
    OwnWriteNotRecognised,
    ListWithoutHeaders,
    ConflictIsFence,
    DeleteBeforeTrimIsConfirmed,
    TrimBeyondConfirmed,
    HeaderOnlyConfirmedTrim,
    DeleteWhenTrimIsConfirmed,
    HintBehindTheLastObject,
    OpenIgnoresClose,
    SecondLookAtSeals,
    TrimBeforeItsNote,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) writers: u8,
    pub(crate) window: u8,
    pub(crate) epochs: u8,
    /// Numbers an owner may use in an epoch.
    pub(crate) numbers: u8,
    pub(crate) trims: u8,
    /// Seals that takers may put ahead of the hole, in all.
    pub(crate) roadblocks: u8,
    pub(crate) reader: bool,
    /// Whether owners close, and the writers from the second on open without taking over.
    pub(crate) polite: bool,
    /// Whether a trim takes effect one object later: headers carry what is confirmed, and only what
    /// a confirmed header carries is deleted. Else headers carry what is asked for, and it is
    /// deleted when the Trim is confirmed.
    pub(crate) trims_late: bool,
    /// Whether only trims excuse a missing record that are acknowledged or lie before a seal. Else
    /// one that was asked for does.
    pub(crate) strict: bool,
    /// Whether a trim may be asked for only when a note that announced it is acknowledged. Then
    /// only what such a note released may be missing.
    pub(crate) notes: bool,
    pub(crate) variant: Option<Variant>,
}

impl Config {
    pub(crate) const BASE: Config = Config {
        writers: 2,
        window: 2,
        epochs: 3,
        numbers: 3,
        trims: 0,
        roadblocks: 0,
        reader: false,
        polite: false,
        trims_late: false,
        strict: false,
        notes: false,
        variant: None,
    };

    pub(crate) fn is(&self, variant: Variant) -> bool {
        self.variant == Some(variant)
    }

    pub(crate) fn check(&self) {
        assert!(
            self.epochs <= EPOCHS && self.numbers < SLOTS,
            "beyond the arrays"
        );
    }

    /// Every step of everybody. A writer that crashed or is paused is one that takes no more
    /// steps: there is none for that.
    pub(crate) fn steps(&self, state: &State, out: &mut Steps) {
        for writer in 0..self.writers {
            self.arrivals(state, writer, out);
            self.writer_steps(state, writer, out);
        }
        self.reader_steps(state, out);
    }

    /// What was sent arrives, where nothing is in its way. (Where something is, nothing changes.)
    fn arrivals(&self, state: &State, writer: u8, out: &mut Steps) {
        let sent = &state.writers[writer as usize].sent;
        for (at, object) in (0..).zip(sent.iter()) {
            let Some(object) = object.filter(|_| state.at(at).is_none()) else {
                continue;
            };
            let mut next = state.clone();
            next.store[at as usize] = Some(object);
            next.writers[writer as usize].created |= bit(at);
            if object.is_seal() && state.ever & bit(at) == 0 {
                let sealed = &mut next.sealed[epoch_of(at) as usize];
                *sealed = Some(sealed.map_or(number_of(at), |end| end.min(number_of(at))));
                let before = key(epoch_of(at), 0)..at;
                let asks = before
                    .filter_map(|k| state.at(k))
                    .filter(|object| object.kind == Kind::Trim);
                next.acked_trim = next
                    .acked_trim
                    .max(asks.map(|trim| trim.asks).max().unwrap_or(0));
            }
            next.ever |= bit(at);
            out.push((Name("arrives", Some(writer), at), Ok(next)));
        }
    }

    /// The key whose header the second look reads.
    pub(crate) fn looked_at(&self, state: &State, at: Key) -> Option<Key> {
        match self.is(Variant::SecondLookAtSeals) {
            true => state.greatest_after(at),
            false => state.greatest_data_after(at),
        }
    }

    /// Below this a record may be missing.
    pub(crate) fn excused(&self, state: &State) -> Key {
        match (self.notes, self.strict) {
            (true, _) => state.noted,
            (false, true) => state.acked_trim,
            (false, false) => state.asked_trim,
        }
    }

    /// The end that somebody saw in an epoch leaves out acknowledged records.
    pub(crate) fn cuts_off(&self, state: &State, ends: &[Option<u8>; EPOCHS as usize]) -> bool {
        let excused = self.excused(state);
        (0..self.epochs).any(|epoch| {
            ends[epoch as usize].is_some_and(|end| {
                let beyond = key(epoch, end)..key(epoch + 1, 0);
                beyond
                    .into_iter()
                    .any(|k| state.is_acked(k) && k >= excused)
            })
        })
    }
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Config {
            writers,
            window,
            epochs,
            numbers,
            trims,
            roadblocks,
            ..
        } = self;
        write!(
            f,
            "{writers} writers, window {window}, {epochs} epochs of {numbers}, {trims} trims, {roadblocks} roadblocks"
        )?;
        let said = [
            (self.reader, "a reader"),
            (self.polite, "closes"),
            (self.trims_late, "trims one object later"),
            (self.strict, "strict"),
            (self.notes, "notes"),
        ];
        for (_, what) in said.iter().filter(|(said, _)| *said) {
            write!(f, ", {what}")?;
        }
        match self.variant {
            Some(variant) => write!(f, "; {variant:?}"),
            None => Ok(()),
        }
    }
}
