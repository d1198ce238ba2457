//! Reading what is left of a damaged log (G4).
//!
//! What is intact on both sides of damage stays readable, and what is not is named. Nothing is
//! believed but checksums: [`places`] takes each segment by its own word, [`cursor`] walks it
//! and goes on after damage, and here their records are merged in LSN order, each LSN once.
//!
//! Of the same LSN the same record may lie in two segments (recovery copies what it keeps),
//! or another one that was replaced later: it never counts (see `Place::until`).

mod cursor;
mod found;
#[cfg(test)]
mod hostile;
mod places;
mod seed;
mod waiting;
mod window;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use self::cursor::{Attested, Cursor, Damage, Intact, Met, survey};
pub use self::found::{Gap, Salvaged};
use self::places::Place;
use self::waiting::{Waiting, What};
use crate::{Lsn, Position, Record, Result, SegmentId, Storage, Wal};

/// Everything intact in a log that may be damaged, in LSN order, each record once, and the
/// gaps in between. From [`Wal::salvage`].
///
/// Records of an append whose frame is damaged are yielded one by one if they are known to
/// have been durable; else the whole frame is a gap, so that no append appears in part (G3).
///
/// ```
/// # use wal_core::{Lsn, Options, Salvaged, Wal, sim::SimStorage};
/// # let disk = SimStorage::new(1);
/// # let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// wal.commit(["a", "b"])?;
/// wal.close()?;
/// let mut salvage = Wal::salvage(disk)?;
/// assert!(matches!(salvage.next(), Some(Salvaged::Record(record)) if record.payload == "a"));
/// assert_eq!(salvage.position(), Lsn::new(1));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Salvage {
    storage: Arc<dyn Storage>,
    /// Segments that are not begun yet, or wait for the others, by the LSN they go on with.
    waiting: BinaryHeap<Waiting>,
    current: Option<Cursor>,
    next: Lsn,
    /// The chain value before `next`, if the record before was intact.
    chain: Option<u64>,
    notes: Vec<Damage>,
    out: VecDeque<Salvaged>,
    /// W: what lies below was durable.
    durable: Lsn,
    /// Nothing from here on is looked at.
    stop: Lsn,
    /// A newer segment than the newest one existed.
    continues: bool,
    ended: bool,
    pub(crate) tally: Tally,
}

/// What was gone through.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Tally {
    pub(crate) segments: u64,
    pub(crate) frames: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Which part of a log is to be gone through, where that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) oldest: Lsn,
    pub(crate) durable: Lsn,
    /// The newest segment that counts.
    pub(crate) newest: SegmentId,
}

impl Wal {
    /// Reads everything intact in a log, however damaged, also one that [`Wal::open`] refuses.
    /// Takes no lock and changes nothing. Meant for a log that nobody writes: what a live
    /// writer is just storing may show as a gap.
    ///
    /// Work and memory are bounded by what the storage really holds.
    ///
    /// # Errors
    /// [`Error::Storage`](crate::Error::Storage) if the storage cannot list its segments. What
    /// cannot be read later is a gap.
    pub fn salvage(storage: impl Storage) -> Result<Salvage> {
        Salvage::new(&(Arc::new(storage) as Arc<dyn Storage>), None)
    }
}

impl Salvage {
    pub(crate) fn new(storage: &Arc<dyn Storage>, part: Option<Part>) -> Result<Salvage> {
        let mut places = places::find(storage, part.map(|part| part.newest))?;
        let end = match part {
            None => attested_at_end(storage, &places),
            Some(_) => Attested::default(),
        };
        let headers = || places.iter().filter_map(|place| place.header);
        let newest_header = headers().max_by_key(|header| header.segment);
        let (durable, released) = match part {
            Some(part) => (part.durable, part.oldest),
            None => {
                let durable = newest_header.map_or(Lsn::ZERO, |header| header.durable);
                let released = newest_header.map_or(Lsn::ZERO, |header| header.released);
                let durable = durable.max(end.durable);
                (durable, released.max(end.released).min(durable))
            }
        };
        if part.is_some() {
            skip_released(&mut places, released);
        }
        Ok(Salvage {
            storage: Arc::clone(storage),
            waiting: places.into_iter().map(Waiting::new).collect(),
            current: None,
            next: released,
            chain: None,
            notes: Vec::new(),
            out: VecDeque::new(),
            durable,
            stop: part.map_or(Lsn::MAX, |part| part.durable),
            continues: end.sealed,
            ended: false,
            tally: Tally::default(),
        })
    }

    /// The LSN of the next record, if it is there.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.next
    }

    fn step(&mut self) {
        let Some(mut cursor) = self.current.take().or_else(|| self.begin()) else {
            return self.finish();
        };
        match cursor.next() {
            Met::Record(record) if record.lsn >= self.stop => self.leave(&cursor),
            Met::Record(record) if record.lsn >= cursor.place.until || record.lsn < self.next => {
                self.current = Some(cursor);
            }
            Met::Record(record) => {
                // Another segment may have what is missing here.
                let other = self.waiting.peek().map(|other| other.from);
                if record.lsn > self.next && other.is_some_and(|other| other < record.lsn) {
                    let from = record.lsn;
                    cursor.again = Some(record);
                    self.waiting.push(Waiting::again(from, cursor));
                } else {
                    self.record(record);
                    self.current = Some(cursor);
                }
            }
            Met::Damage(damage) => {
                self.note(damage);
                self.current = Some(cursor);
            }
            Met::End => self.leave(&cursor),
        }
    }

    /// Goes on with the segment that has the lowest LSN.
    fn begin(&mut self) -> Option<Cursor> {
        let waiting = self.waiting.pop()?;
        Some(match waiting.what {
            What::Begun(cursor) => *cursor,
            What::Place(place) => {
                self.tally.segments += 1;
                self.check_chain(&place);
                Cursor::new(&self.storage, *place, self.durable)
            }
        })
    }

    fn leave(&mut self, cursor: &Cursor) {
        self.tally.frames += cursor.attested.frames;
        if self.stop == Lsn::MAX {
            self.durable = self.durable.max(cursor.attested.durable);
        }
    }

    /// A segment's header must agree with the record before its first.
    fn check_chain(&mut self, place: &Place) {
        let header = place.header.filter(|header| header.first == self.next);
        if let (Some(header), Some(chain)) = (header, self.chain)
            && header.chain != chain
        {
            let at = Position {
                segment: place.id,
                offset: 0,
                lsn: header.first,
            };
            let reason = "the segment continues another history than the one before";
            self.note(Damage::new(at, 0, reason.into(), None));
        }
    }

    fn record(&mut self, record: Intact) {
        let missing = record.lsn > self.next;
        if missing && self.notes.is_empty() {
            let reason = "the frames or segments that held them are missing";
            self.note(Damage::new(record.at, 0, reason.into(), None));
        }
        if !missing && self.chain.is_some_and(|chain| chain != record.chain_before) {
            let reason = "the record continues another history than the one before";
            self.note(Damage::new(record.at, 0, reason.into(), None));
        }
        self.flush(record.lsn);
        (self.next, self.chain) = (record.lsn.plus(1), Some(record.chain_after));
        self.tally.records += 1;
        self.tally.bytes += record.payload.len() as u64;
        self.out.push_back(Salvaged::Record(Record {
            lsn: record.lsn,
            payload: record.payload,
        }));
    }

    /// Damage becomes a gap once it is known what it cost. That of neighbouring records is one.
    fn note(&mut self, damage: Damage) {
        let before = self.notes.last_mut().filter(|before| {
            let ends = before.lost.as_ref().map(|lost| lost.end);
            let starts = damage.lost.as_ref().map(|lost| lost.start);
            ends.is_some() && ends == starts && before.at.segment == damage.at.segment
        });
        match before {
            Some(before) => {
                before.bytes = before.bytes.saturating_add(damage.bytes);
                if let (Some(lost), Some(more)) = (&mut before.lost, damage.lost) {
                    lost.end = more.end;
                }
            }
            None => self.notes.push(damage),
        }
    }

    /// Yields what was noted; the records from `next` to `until` are not there.
    fn flush(&mut self, until: Lsn) {
        let mut from = self.next;
        let mut notes = std::mem::take(&mut self.notes).into_iter().peekable();
        while let Some(note) = notes.next() {
            let to = match (notes.peek(), &note.lost) {
                (None, _) => until,
                (_, Some(lost)) => lost.end.clamp(from, until),
                (Some(next), None) => next
                    .lost
                    .as_ref()
                    .map_or(until, |lost| lost.start.clamp(from, until)),
            };
            self.out.push_back(Salvaged::Gap(Gap {
                unconfirmed: from >= self.durable,
                lost: from..to,
                at: note.at,
                bytes: note.bytes,
                reason: note.reason,
            }));
            from = to;
        }
        if until > self.next {
            (self.next, self.chain) = (until, None);
        }
    }

    /// Everything was gone through: what was durable beyond the last record is lost.
    fn finish(&mut self) {
        self.ended = true;
        if self.stop != Lsn::MAX && self.next >= self.stop {
            return self.notes.clear(); // beyond what was asked for
        }
        let torn = self.notes.iter().filter_map(|note| note.lost.as_ref());
        let torn = torn.map(|lost| lost.end).max().unwrap_or(self.next);
        let mut until = self.next.max(self.durable);
        if self.continues && until == self.next {
            until = until.plus(1);
            self.durable = self.durable.max(until);
        }
        if until > self.next && self.notes.is_empty() {
            let at = Position {
                segment: SegmentId::default(),
                offset: 0,
                lsn: self.next,
            };
            let reason = "the log ends here, but it is attested that it went on";
            self.notes.push(Damage::new(at, 0, reason.into(), None));
        }
        self.flush(until.max(torn.min(self.stop)));
    }
}

impl Iterator for Salvage {
    type Item = Salvaged;

    fn next(&mut self) -> Option<Self::Item> {
        while self.out.is_empty() && !self.ended {
            self.step();
        }
        self.out.pop_front()
    }
}

/// What the newest segment attests; and the seal of the one before, which was written after
/// the newest one's first frame was durable.
fn attested_at_end(storage: &Arc<dyn Storage>, places: &[Place]) -> Attested {
    let mut newest: Vec<&Place> = places.iter().collect();
    newest.sort_by_key(|place| Reverse(place.segment));
    let mut surveys = newest.iter().take(2).map(|place| survey(storage, place));
    let mut end = surveys.next().unwrap_or_default();
    if let Some(before) = surveys.next() {
        end.durable = end.durable.max(before.durable);
        end.released = end.released.max(before.released);
    }
    end
}

/// Leaves out segments that hold nothing but what was released: they may be deleted meanwhile.
fn skip_released(places: &mut Vec<Place>, oldest: Lsn) {
    let firsts: Vec<_> = places.iter().filter_map(|place| place.header).collect();
    let last = firsts.iter().filter(|header| header.first <= oldest);
    if let Some(last) = last.map(|header| header.segment).max() {
        places.retain(|place| place.segment >= last);
    }
}
