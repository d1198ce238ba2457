//! Leaving a segment: the next one begins, and the one before says so.

use std::sync::Arc;

use super::{Committer, Cut, Segment, Start, Write, position};
use crate::attachment::Holds;
use crate::frame::{FrameBuilder, Kind, Note};
use crate::storage::Sync;
use crate::{Lsn, attachment};

/// A segment that was left behind, by this writer or an earlier one, and is sealed once its
/// successor is stored.
#[derive(Clone, Debug)]
pub(crate) struct Unsealed {
    pub(super) segment: Segment,
    /// What its last frame ended with: its seal continues that.
    pub(super) end: Lsn,
    pub(super) chain: u64,
    /// Where the successor begins: nothing from here on is acknowledged before the seal is durable.
    pub(super) left_at: (Lsn, u64),
    /// Whether all its frames stand in the index.
    pub(super) indexed: bool,
}

impl Committer {
    /// Whether a segment that was left behind still waits for its seal.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed.is_some() && self.has_written()
    }

    /// The seal of the segment left behind, once its successor is stored. It is synced: only
    /// then is anything in the successor acknowledged. It attests the successor's first frame,
    /// which was synced when it was stored.
    pub(crate) fn seal(&mut self, time: i64) -> Option<Write> {
        let wait = match self.limits.in_order {
            true => self.flights.iter().any(|flight| flight.begins),
            false => !self.is_idle(),
        };
        if wait || !self.has_written() {
            return None;
        }
        let before = self.before();
        let Unsealed {
            segment,
            end,
            chain,
            indexed,
            ..
        } = self.unsealed.take()?;
        self.time = self.time.max(time);
        let attached = match indexed {
            true => {
                let index = segment.index.lock();
                attachment::with_footer(&self.holds, &index, self.place_of(&segment))
            }
            false => attachment::holds_only(&Holds::new()),
        };
        let frame = FrameBuilder::with_attachment(end, chain, attached);
        let at = position(&segment, end);
        let note = Note {
            durable: self.written,
            ..self.note(Kind::Seal, segment.id)
        };
        let bytes = frame.finish(note, segment.seed, segment.offset);
        let ends = (self.written, self.written_chain);
        Some(self.begin(at, bytes, Sync::Yes, ends, Kind::Seal, before))
    }

    /// There was no space for a seal: the log goes on without.
    pub(crate) fn skip_seal(&mut self) {
        self.unsealed = None;
        self.synced();
    }

    /// The log goes on from `cut`, in a new segment; the records up to `to` are copied there by
    /// the next write. Only while nothing is under way.
    pub(crate) fn truncate(&mut self, cut: Cut, to: Lsn) {
        let left_at = (cut.at.lsn, cut.chain);
        let newest = self.segment.take();
        if let Some(newest) = &newest {
            self.start.next_segment = newest.id.next();
        }
        self.unsealed = match (newest, self.unsealed.take()) {
            (Some(newest), _) if newest.id == cut.at.segment => Some(Unsealed {
                segment: newest,
                end: self.next,
                chain: self.chain,
                left_at,
                indexed: true,
            }),
            // The others are sealed, or deleted once the truncation is durable.
            (_, before) => before
                .filter(|before| before.segment.id == cut.at.segment)
                .map(|before| Unsealed { left_at, ..before }),
        };
        self.truncates = true;
        (self.start.previous, self.start.previous_end) = (cut.at.segment, cut.at.offset);
        self.start.copied_until = to;
        (self.next, self.chain) = (cut.at.lsn, cut.chain);
        (self.written, self.written_chain) = (cut.at.lsn, cut.chain);
        (self.durable, self.durable_chain) = (cut.at.lsn, cut.chain);
        self.attested = cut.at.lsn;
    }
}

impl Unsealed {
    /// The segment in which the log ended when it was opened.
    pub(super) fn of_earlier_writer(place: Cut, start: &Start) -> Self {
        Unsealed {
            segment: Segment {
                id: start.previous,
                seed: start.previous_seed,
                offset: place.at.offset,
                appends: 0,
                full: false,
                index: Arc::default(),
            },
            end: place.at.lsn,
            chain: place.chain,
            left_at: (start.next, start.chain),
            indexed: false,
        }
    }
}
