//! Group commit as a state machine without I/O.
//!
//! It decides what is written next, where, and what each finished write means.
//! It performs nothing and knows no thread or clock, so that every order of
//! events can be tested step by step.
//!
//! Invariants:
//! - A position is handed out once; offsets within a segment grow.
//! - `durable <= written <= next`: acknowledged, accepted, framed.
//! - `written` moves only over the contiguous prefix of finished writes (G2).
//! - `durable` moves only when the storage has confirmed it (G1), and into a segment that this
//!   writer rolled to only once the seal of the one before is durable: a newest segment
//!   that goes missing is seen (G4). (Not where several appends are in flight.)
//! - Times never go back, whatever the clock does.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::sync::Mutex;

use crate::attachment::{Holds, Place};
use crate::frame::{FrameBuilder, Kind, Note};
use crate::group::Group;
use crate::index::Index;
use crate::planted::{planted, planted_or};
use crate::storage::Sync;
use crate::{Limits, Lsn, SegmentId};

mod framing;
mod locate;
mod parts;
mod sealing;

use framing::{Body, position};
use locate::locate;
use parts::Before;
pub(crate) use parts::{Begun, Cut, Shape, Start, Write};
use sealing::Unsealed;

/// So many marks find room in a segment that takes no more records: a log whose disk is full
/// must still be able to note what was released, or space could never return (G7).
const RESERVED_MARKS: u64 = 4;

#[derive(Clone, Debug)]
struct Segment {
    id: SegmentId,
    seed: u32,
    offset: u64,
    appends: u32,
    /// Records leave it: the next segment was announced.
    full: bool,
    index: Arc<Mutex<Index>>,
}

#[derive(Clone, Debug)]
struct Flight {
    id: u64,
    end: Lsn,
    chain: u64,
    sync: Sync,
    begins: bool,
    released: Lsn,
    stored: bool,
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Committer {
    start: Start,
    limits: Limits,
    shape: Shape,
    segment: Option<Segment>,
    unsealed: Option<Unsealed>,
    /// The next segment begins by giving up what lay there before.
    truncates: bool,
    next: Lsn,
    chain: u64,
    written: Lsn,
    written_chain: u64,
    durable: Lsn,
    durable_chain: u64,
    attested: Lsn,
    released: Lsn,
    released_durably: Lsn,
    holds: Holds,
    time: i64,
    flights: VecDeque<Flight>,
    next_id: u64,
}

impl Committer {
    pub(crate) fn new(start: Start, limits: Limits, shape: Shape) -> Self {
        Committer {
            limits,
            shape,
            segment: None,
            unsealed: start
                .unsealed
                .map(|place| Unsealed::of_earlier_writer(place, &start)),
            truncates: start.truncates,
            next: start.next,
            chain: start.chain,
            written: start.next,
            written_chain: start.chain,
            durable: start.durable,
            durable_chain: start.chain,
            attested: start.durable,
            released: start.released,
            // What recovery read may stand in the page cache only; nothing is deleted on its word.
            released_durably: Lsn::ZERO,
            holds: start.holds.clone(),
            time: start.time,
            flights: VecDeque::new(),
            next_id: 0,
            start,
        }
    }

    /// Whether another write may be begun. Not while one is under way that creates a segment,
    /// unless the storage keeps the order: others must not overtake it.
    pub(crate) fn has_room(&self) -> bool {
        let creating = |flight: &Flight| flight.begins && !flight.stored;
        self.flights.len() < self.limits.in_flight as usize
            && (self.limits.in_order || !self.flights.iter().any(creating))
    }

    /// Every write before this one is stored.
    pub(crate) fn stored_before(&self) -> u64 {
        self.flights
            .front()
            .map_or(self.next_id, |flight| flight.id)
    }

    /// Whether this writer has begun a segment.
    pub(crate) fn has_written(&self) -> bool {
        self.segment.is_some()
    }

    /// Whether no write is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.flights.is_empty()
    }

    /// The LSN of the next record to be framed.
    pub(crate) fn next(&self) -> Lsn {
        self.next
    }

    pub(crate) fn durable(&self) -> Lsn {
        self.durable
    }

    /// The durable LSN, and the chain value there.
    pub(crate) fn receipt(&self) -> (Lsn, u64) {
        (self.durable, self.durable_chain)
    }

    pub(crate) fn written(&self) -> Lsn {
        self.written
    }

    /// The durable LSN that the newest frame attests to a later open.
    pub(crate) fn attested(&self) -> Lsn {
        self.attested
    }

    /// The released LSN that is durable in the log: what lies below may be deleted.
    pub(crate) fn released_durably(&self) -> Lsn {
        self.released_durably
    }

    /// Notes what the caller has released; the next frame says so.
    pub(crate) fn release(&mut self, released: Lsn) {
        self.released = self.released.max(released);
    }

    /// The named holds, as the next frame that notes them will say; returns those before.
    pub(crate) fn set_holds(&mut self, holds: Holds) -> Holds {
        std::mem::replace(&mut self.holds, holds)
    }

    /// Puts a group of appends into the next frame; `sync` even if none of them asks for it.
    pub(crate) fn records(&mut self, group: Group, sync: bool, time: i64) -> Write {
        let durable = sync || group.0.iter().any(|append| append.durable);
        let records = usize::try_from(group.records()).unwrap_or(0);
        let mut frame = FrameBuilder::new(self.next, self.chain, records);
        let mut wanted = Vec::new();
        for append in group.0 {
            let (first, _) = frame.records();
            frame.add(append.payload, append.lengths);
            let (end, _) = frame.records();
            wanted.extend(append.placed.map(|placed| (placed, first..end)));
        }
        if self.shape.compress {
            frame.compress(self.limits.align);
        }
        let located = locate(&frame, wanted);
        let sync = if durable { Sync::Yes } else { Sync::No };
        let write = self.write(Body::Records(frame), Kind::Records, sync, time);
        let frame_at = write.before.indexed.map_or(0, |(offset, _)| offset);
        for (placed, mut locations) in located {
            for location in &mut locations {
                location.moved_to(write.at.segment, frame_at);
            }
            placed.set(locations);
        }
        write
    }

    /// A frame without records that notes how far the log is durable and released; of kind
    /// close also what the segment holds, of kind holds also the named holds.
    pub(crate) fn mark(&mut self, kind: Kind, sync: Sync, time: i64) -> Write {
        let body = match kind {
            Kind::Close => Body::Footer,
            Kind::Holds => Body::Holds,
            _ => Body::Mark,
        };
        self.write(body, kind, sync, time)
    }

    /// The storage had no space for `write`, and stored nothing of it: as if it had never been
    /// begun. Only for the write begun last, and only while it is the only one.
    pub(crate) fn revert(&mut self, write: &Write) {
        self.flights.retain(|flight| flight.id != write.id);
        let before = write.before.clone();
        if let (Some((offset, bytes)), Some(segment)) = (before.indexed, &self.segment) {
            segment.index.lock().pop(offset, bytes);
        }
        self.truncates |= write
            .begins
            .as_ref()
            .is_some_and(|begun| begun.header.truncates);
        (self.segment, self.unsealed) = (before.segment, before.unsealed);
        (self.next, self.chain) = (before.next, before.chain);
        self.attested = before.attested;
    }

    /// A write finished. Writes may finish in any order.
    pub(crate) fn stored(&mut self, id: u64) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.stored = true;
        }
        let stored = |flight: &Flight| flight.stored || planted("hole-acknowledged");
        while self.flights.front().is_some_and(stored) {
            let Some(flight) = self.flights.pop_front() else {
                break;
            };
            if flight.end > self.written {
                (self.written, self.written_chain) = (flight.end, flight.chain);
            }
            if flight.sync == Sync::Yes || planted("acknowledged-before-the-sync") {
                self.synced();
                self.released_durably = self.released_durably.max(flight.released);
            }
        }
    }

    /// A `sync` that was begun when nothing was under way has finished.
    pub(crate) fn synced(&mut self) {
        let mut reached = (self.written, self.written_chain);
        let unsealed = self.unsealed.as_ref();
        let early = self.limits.in_flight > 1 || planted("acknowledged-before-the-seal");
        if let Some(unsealed) = unsealed.filter(|_| !early) {
            reached = unsealed.left_at;
        }
        if reached.0 > self.durable {
            (self.durable, self.durable_chain) = reached;
        }
    }

    fn note(&self, kind: Kind, segment: SegmentId) -> Note {
        Note {
            kind,
            durable: planted_or("attested-before-it-is-durable", self.next, self.durable),
            released: self.released,
            time: self.time,
            segment,
            begins: false,
        }
    }

    fn before(&self) -> Before {
        Before {
            segment: self.segment.clone(),
            unsealed: self.unsealed.clone(),
            next: self.next,
            chain: self.chain,
            attested: self.attested,
            indexed: None,
        }
    }

    fn place_of(&self, segment: &Segment) -> Place {
        Place {
            seed: segment.seed,
            offset: segment.offset,
            align: self.limits.align,
        }
    }
}

#[cfg(test)]
mod tests;
