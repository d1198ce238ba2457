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
//! - `durable` moves only when the storage has confirmed it (G1).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::frame::{FrameBuilder, Kind, Note};
use crate::segment::SegmentHeader;
use crate::storage::Sync;
use crate::{Identity, Limits, Lsn, Position, SegmentId, Writer};

/// So many marks find room in a segment that takes no more records: a log whose disk is full
/// must still be able to note what was released, or space could never return (G7).
const RESERVED_MARKS: u64 = 4;

/// One append, waiting to be framed.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) lengths: Vec<u32>,
    pub(crate) durable: bool,
}

/// A write to be performed.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) at: Position,
    pub(crate) bytes: Vec<Bytes>,
    pub(crate) sync: Sync,
    /// Set when this write begins a segment.
    pub(crate) begins: Option<SegmentHeader>,
    /// The offset at which the segment ends once this is written.
    pub(crate) end_offset: u64,
    pub(crate) stored_bytes: u64,
    /// One past its last record; equal to `at.lsn` if it has none.
    pub(crate) end: Lsn,
    /// What to go back to if the storage has no space for it.
    before: Before,
}

/// The part of the state that a write changes when it is begun.
#[derive(Clone, Copy, Debug)]
struct Before {
    segment: Option<Segment>,
    unsealed: Option<(Segment, Lsn, u64)>,
    next: Lsn,
    chain: u64,
    attested: Lsn,
}

/// Where the log ended when it was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) log: Identity,
    pub(crate) writer: Writer,
    pub(crate) next_segment: SegmentId,
    pub(crate) previous: SegmentId,
    pub(crate) previous_end: u64,
    pub(crate) next: Lsn,
    pub(crate) chain: u64,
    /// End of what is copied anew before anything else is appended.
    pub(crate) copied_until: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) released: Lsn,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    id: SegmentId,
    seed: u32,
    offset: u64,
}

#[derive(Debug)]
struct Flight {
    id: u64,
    end: Lsn,
    sync: Sync,
    released: Lsn,
    stored: bool,
}

/// The state machine.
#[derive(Debug)]
pub(crate) struct Committer {
    start: Start,
    limits: Limits,
    segment_bytes: u64,
    segment: Option<Segment>,
    /// A segment that was left behind and is sealed once its successor is stored.
    unsealed: Option<(Segment, Lsn, u64)>,
    next: Lsn,
    chain: u64,
    written: Lsn,
    durable: Lsn,
    attested: Lsn,
    released: Lsn,
    released_durably: Lsn,
    flights: VecDeque<Flight>,
    next_id: u64,
}

impl Committer {
    pub(crate) fn new(start: Start, limits: Limits, segment_bytes: u64) -> Self {
        Committer {
            limits,
            segment_bytes,
            segment: None,
            unsealed: None,
            next: start.next,
            chain: start.chain,
            written: start.next,
            durable: start.durable,
            attested: start.durable,
            released: start.released,
            // What recovery read may stand in the page cache only; nothing is deleted on its word.
            released_durably: Lsn::ZERO,
            flights: VecDeque::new(),
            next_id: 0,
            start,
        }
    }

    /// Whether another write may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.flights.len() < self.limits.in_flight as usize
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

    /// Puts a group of appends into the next frame; `sync` even if none of them asks for it.
    pub(crate) fn records(&mut self, group: Vec<Queued>, sync: bool, time: i64) -> Write {
        let durable = sync || group.iter().any(|append| append.durable);
        let records = group.iter().map(|append| append.lengths.len()).sum();
        let mut frame = FrameBuilder::new(self.next, self.chain, records);
        for append in group {
            frame.push(append.chunks, append.lengths);
        }
        let sync = if durable { Sync::Yes } else { Sync::No };
        self.write(frame, Kind::Records, sync, time)
    }

    /// A frame without records that notes how far the log is durable and released.
    pub(crate) fn mark(&mut self, kind: Kind, sync: Sync, time: i64) -> Write {
        let frame = FrameBuilder::new(self.next, self.chain, 0);
        self.write(frame, kind, sync, time)
    }

    /// The seal of the segment left behind, once its successor is stored.
    pub(crate) fn seal(&mut self, time: i64) -> Option<Write> {
        if !self.is_idle() {
            return None;
        }
        let before = self.before();
        let (segment, lsn, chain) = self.unsealed.take()?;
        let frame = FrameBuilder::new(lsn, chain, 0);
        let at = position(&segment, lsn);
        let note = self.note(Kind::Seal, segment.id, time);
        let bytes = frame.finish(note, segment.seed, segment.offset);
        Some(self.begin(at, bytes, Sync::No, self.written, None, before))
    }

    /// The storage had no space for `write`, and stored nothing of it: as if it had never been
    /// begun. Only for the write begun last, and only while it is the only one.
    pub(crate) fn revert(&mut self, write: &Write) {
        self.flights.retain(|flight| flight.id != write.id);
        let before = write.before;
        (self.segment, self.unsealed) = (before.segment, before.unsealed);
        (self.next, self.chain) = (before.next, before.chain);
        self.attested = before.attested;
    }

    /// A write finished. Writes may finish in any order.
    pub(crate) fn stored(&mut self, id: u64) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.id == id) {
            flight.stored = true;
        }
        while self.flights.front().is_some_and(|flight| flight.stored) {
            let Some(flight) = self.flights.pop_front() else {
                break;
            };
            self.written = self.written.max(flight.end);
            if flight.sync == Sync::Yes {
                self.durable = self.durable.max(self.written);
                self.released_durably = self.released_durably.max(flight.released);
            }
        }
    }

    /// A `sync` that was begun when nothing was under way has finished.
    pub(crate) fn synced(&mut self) {
        self.durable = self.durable.max(self.written);
    }

    fn note(&self, kind: Kind, segment: SegmentId, time: i64) -> Note {
        Note {
            kind,
            durable: self.durable,
            released: self.released,
            time,
            segment,
        }
    }

    fn before(&self) -> Before {
        Before {
            segment: self.segment,
            unsealed: self.unsealed,
            next: self.next,
            chain: self.chain,
            attested: self.attested,
        }
    }

    fn write(&mut self, frame: FrameBuilder, kind: Kind, sync: Sync, time: i64) -> Write {
        let before = self.before();
        let (end, chain) = frame.end();
        let (segment, begins) = self.place(kind, frame.bytes(), time);
        let mut at = position(&segment, self.next);
        let note = self.note(kind, segment.id, time);
        let mut bytes = frame.finish(note, segment.seed, segment.offset);
        if let Some(header) = &begins {
            at.offset = 0;
            let mut head = BytesMut::from(header.encode().as_slice());
            head.resize(
                usize::try_from(header.stored_bytes()).unwrap_or(usize::MAX),
                0,
            );
            bytes.insert(0, head.freeze());
        }
        (self.next, self.chain) = (end, chain);
        self.attested = self.durable;
        // Where appends overtake each other, a sync says nothing of those before it:
        // such storage confirms each by itself. A segment's first frame is synced so
        // that what an unsynced log can lose never spans a finished segment.
        let sync = if begins.is_some() || self.limits.in_flight > 1 {
            Sync::Yes
        } else {
            sync
        };
        self.begin(at, bytes, sync, end, begins, before)
    }

    /// Pads, advances the cursor, and notes the write as under way.
    fn begin(
        &mut self,
        at: Position,
        mut bytes: Vec<Bytes>,
        sync: Sync,
        end: Lsn,
        begins: Option<SegmentHeader>,
        before: Before,
    ) -> Write {
        let length: u64 = bytes.iter().map(|part| part.len() as u64).sum();
        let padded = length.next_multiple_of(u64::from(self.limits.align));
        if padded > length {
            bytes.push(zeros(usize::try_from(padded - length).unwrap_or(0)));
        }
        let end_offset = at.offset + padded;
        if let Some(segment) = self.segment.as_mut().filter(|open| open.id == at.segment) {
            segment.offset = end_offset;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.flights.push_back(Flight {
            id,
            end,
            sync,
            released: self.released,
            stored: false,
        });
        Write {
            id,
            at,
            bytes,
            sync,
            begins,
            end_offset,
            stored_bytes: padded,
            end,
            before,
        }
    }

    /// The place of the next frame: in the open segment, or in a new one if there is none
    /// or if the frame and a seal would not fit. Records leave room for some marks, too. While recovery copies what it keeps, the
    /// segment grows as needed, for a copy is one segment.
    fn place(
        &mut self,
        kind: Kind,
        frame_bytes: u64,
        time: i64,
    ) -> (Segment, Option<SegmentHeader>) {
        let align = u64::from(self.limits.align);
        let mark = (crate::frame::HEADER_BYTES as u64).next_multiple_of(align);
        let reserved = if kind == Kind::Records {
            RESERVED_MARKS + 1
        } else {
            1
        };
        if let Some(segment) = self.segment {
            let end = segment.offset + frame_bytes.next_multiple_of(align) + reserved * mark;
            if end <= self.segment_bytes || self.next < self.start.copied_until {
                return (segment, None);
            }
        }
        let header = self.next_header(time);
        let segment = Segment {
            id: header.segment,
            seed: header.frame_seed(),
            offset: header.stored_bytes(),
        };
        self.unsealed = self
            .segment
            .replace(segment)
            .map(|old| (old, self.next, self.chain));
        (segment, Some(header))
    }

    fn next_header(&self, time: i64) -> SegmentHeader {
        let old = self.segment;
        let (previous, previous_end) = old
            .as_ref()
            .map_or((self.start.previous, self.start.previous_end), |old| {
                (old.id, old.offset)
            });
        SegmentHeader {
            align: self.limits.align,
            log: self.start.log,
            writer: self.start.writer.id,
            epoch: self.start.writer.epoch,
            segment: old
                .as_ref()
                .map_or(self.start.next_segment, |old| old.id.next()),
            first: self.next,
            chain: self.chain,
            previous,
            previous_end,
            durable: self.durable,
            released: self.released,
            copied_until: self.start.copied_until.max(self.next),
            created: time,
        }
    }
}

fn position(segment: &Segment, lsn: Lsn) -> Position {
    Position {
        segment: segment.id,
        offset: segment.offset,
        lsn,
    }
}

fn zeros(length: usize) -> Bytes {
    static ZEROS: [u8; 65_536] = [0; 65_536];
    Bytes::from_static(ZEROS.get(..length).unwrap_or(&ZEROS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;

    fn committer(in_flight: u32) -> Committer {
        let start = Start {
            log: Identity::new(1),
            writer: Writer {
                epoch: Epoch::new(1),
                id: Identity::new(1),
            },
            next_segment: SegmentId::new(1),
            previous: SegmentId::default(),
            previous_end: 0,
            next: Lsn::ZERO,
            chain: 0,
            copied_until: Lsn::ZERO,
            durable: Lsn::ZERO,
            released: Lsn::ZERO,
        };
        let limits = Limits {
            align: 4096,
            in_flight,
            append_bytes: 1 << 30,
        };
        Committer::new(start, limits, 64 << 10)
    }

    fn records(committer: &mut Committer, count: usize, bytes: usize, durable: bool) -> Write {
        let group = vec![Queued {
            chunks: vec![vec![0; count * bytes].into()],
            lengths: vec![u32::try_from(bytes).unwrap(); count],
            durable,
        }];
        committer.records(group, false, 0)
    }

    fn lsns(committer: &Committer) -> (u64, u64) {
        (committer.written().get(), committer.durable().get())
    }

    #[test]
    fn only_the_contiguous_prefix_is_acknowledged() {
        let mut committer = committer(3);
        let writes: Vec<_> = (0..3)
            .map(|_| records(&mut committer, 2, 10, true))
            .collect();
        assert!(!committer.has_room());
        committer.stored(writes[2].id);
        committer.stored(writes[1].id);
        assert_eq!(lsns(&committer), (0, 0));
        committer.stored(writes[0].id);
        assert_eq!(lsns(&committer), (6, 6));
    }

    #[test]
    fn what_is_not_synced_is_written_but_not_durable() {
        let mut committer = committer(1);
        let first = records(&mut committer, 1, 10, false);
        assert_eq!(
            first.sync,
            Sync::Yes,
            "the first frame of a segment is always synced"
        );
        committer.stored(first.id);
        let second = records(&mut committer, 1, 10, false);
        assert_eq!(second.sync, Sync::No);
        committer.stored(second.id);
        assert_eq!(lsns(&committer), (2, 1));
        committer.synced();
        assert_eq!(lsns(&committer), (2, 2));
    }

    #[test]
    fn positions_are_aligned_and_never_handed_out_twice() {
        let mut committer = committer(1);
        let mut last = (SegmentId::default(), 0);
        for _ in 0..100 {
            let write = records(&mut committer, 3, 1500, true);
            assert_eq!((write.at.offset % 4096, write.end_offset % 4096), (0, 0));
            assert!(
                write.end_offset <= 64 << 10,
                "a segment keeps within its size"
            );
            let place = (write.at.segment, write.at.offset);
            assert!(place >= last, "{place:?} after {last:?}");
            last = (write.at.segment, write.end_offset);
            committer.stored(write.id);
        }
    }

    #[test]
    fn a_segment_is_sealed_only_once_its_successor_is_stored() {
        let mut committer = committer(1);
        let mut rolls = 0;
        for _ in 0..40 {
            let write = records(&mut committer, 1, 5000, true);
            let rolled = write
                .begins
                .is_some_and(|header| header.previous != SegmentId::default());
            assert!(
                committer.seal(0).is_none(),
                "not while the write is under way"
            );
            committer.stored(write.id);
            let seal = committer.seal(0);
            assert_eq!(seal.is_some(), rolled);
            if let Some(seal) = seal {
                rolls += 1;
                assert_eq!(seal.at.segment.next(), write.at.segment);
                assert_eq!(seal.at.lsn, write.at.lsn);
                assert!(seal.end_offset <= 64 << 10);
                committer.stored(seal.id);
            }
        }
        assert!(rolls > 2);
    }

    #[test]
    fn a_release_counts_once_a_synced_frame_has_said_it() {
        let mut committer = committer(1);
        let write = records(&mut committer, 5, 10, true);
        committer.stored(write.id);
        committer.release(Lsn::new(3));
        let unsynced = records(&mut committer, 1, 10, false);
        committer.stored(unsynced.id);
        assert_eq!(committer.released_durably(), Lsn::ZERO);
        let mark = committer.mark(Kind::Mark, Sync::Yes, 0);
        committer.stored(mark.id);
        assert_eq!(committer.released_durably(), Lsn::new(3));
    }
}
