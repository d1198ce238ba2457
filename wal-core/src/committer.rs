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
use bytes::{Bytes, BytesMut};

use crate::attachment::{self, Holds, Place};
use crate::frame::{self, FrameBuilder, Kind, Note, SMALL_CHUNK};
use crate::index::{Entry, Index};
use crate::planted::{planted, planted_or};
use crate::segment::SegmentHeader;
use crate::storage::Sync;
use crate::{Limits, Lsn, Position, SegmentId};

mod locate;
mod parts;

use locate::locate;
use parts::Before;
pub(crate) use parts::{Begun, Cut, Queued, Shape, Start, Write};

/// So many marks find room in a segment that takes no more records: a log whose disk is full
/// must still be able to note what was released, or space could never return (G7).
const RESERVED_MARKS: u64 = 4;

#[derive(Clone, Debug)]
struct Segment {
    id: SegmentId,
    seed: u32,
    offset: u64,
    appends: u32,
    index: Arc<Mutex<Index>>,
}

/// A segment that was left behind, by this writer or an earlier one, and is sealed once its
/// successor is stored.
#[derive(Clone, Debug)]
struct Unsealed {
    segment: Segment,
    /// What its last frame ended with: its seal continues that.
    end: Lsn,
    chain: u64,
    /// Where the successor begins, if that is not where the segment ends: nothing from here on is
    /// acknowledged before the seal is durable.
    left_at: Option<(Lsn, u64)>,
    /// Whether all its frames stand in the index.
    indexed: bool,
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

/// What a frame is made of.
enum Body {
    Records(FrameBuilder),
    Mark,
    Holds,
    Footer,
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

    /// Whether a segment that was left behind still waits for its seal.
    pub(crate) fn is_unsealed(&self) -> bool {
        self.unsealed.is_some() && self.has_written()
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
    pub(crate) fn records(&mut self, group: Vec<Queued>, sync: bool, time: i64) -> Write {
        let durable = sync || group.iter().any(|append| append.durable);
        let records = group.iter().map(|append| append.lengths.len()).sum();
        let bytes = group.iter().flat_map(|append| &append.chunks);
        let bytes = bytes.map(Bytes::len).filter(|bytes| *bytes < SMALL_CHUNK);
        let mut frame = FrameBuilder::with_capacity(self.next, self.chain, records, bytes.sum());
        let mut wanted = Vec::new();
        for append in group {
            let (first, _) = frame.records();
            frame.push(append.chunks, append.lengths);
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
        let left_at = Some((cut.at.lsn, cut.chain));
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
            reached = unsealed.left_at.unwrap_or((unsealed.end, unsealed.chain));
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

    fn write(&mut self, body: Body, kind: Kind, sync: Sync, time: i64) -> Write {
        let mut before = self.before();
        self.time = self.time.max(time);
        let (segment, begins) = self.place(kind, self.bytes_of(&body));
        let mut at = position(&segment, self.next);
        let mut bytes = Vec::new();
        if let Some(begun) = &begins {
            at.offset = 0;
            bytes = self.head(begun, &segment);
        }
        let ends = self.frame(body, kind, &segment, &mut before, &mut bytes);
        (self.next, self.chain) = ends;
        self.attested = self.durable;
        // Where appends overtake each other, a sync says nothing of those before it:
        // such storage confirms each by itself. A segment's first frame is synced so
        // that what an unsynced log can lose never spans a finished segment.
        let begun = begins.is_some() && !planted("first-frame-not-synced");
        let sync = if begun || self.limits.in_flight > 1 {
            Sync::Yes
        } else {
            sync
        };
        let mut write = self.begin(at, bytes, sync, ends, kind, before);
        write.begins = begins;
        write
    }

    /// Builds the frame for its place, behind what is in `bytes` already; tells where it ends.
    fn frame(
        &self,
        body: Body,
        kind: Kind,
        segment: &Segment,
        before: &mut Before,
        bytes: &mut Vec<Bytes>,
    ) -> (Lsn, u64) {
        let ahead: u64 = bytes.iter().map(|part| part.len() as u64).sum();
        let mut segment = segment.clone();
        segment.offset = segment.offset.max(ahead);
        let attached = |bytes| FrameBuilder::with_attachment(self.next, self.chain, bytes);
        let frame = match body {
            Body::Records(frame) => {
                let entry = Entry {
                    lsn: self.next,
                    offset: segment.offset,
                    time: self.time,
                };
                segment.index.lock().push(entry, frame.bytes());
                before.indexed = Some((segment.offset, frame.bytes()));
                frame
            }
            Body::Mark => FrameBuilder::new(self.next, self.chain, 0),
            Body::Holds => attached(attachment::holds_only(&self.holds)),
            Body::Footer => {
                let index = segment.index.lock();
                let place = self.place_of(&segment);
                attached(attachment::with_footer(&self.holds, &index, place))
            }
        };
        let ends = frame.end();
        let note = Note {
            begins: ahead > 0,
            ..self.note(kind, segment.id)
        };
        bytes.extend(frame.finish(note, segment.seed, segment.offset));
        ends
    }

    /// What stands before the first frame of a segment: the header, and the named holds if
    /// there are any, so that they outlive every segment in which they were noted.
    fn head(&mut self, begun: &Begun, segment: &Segment) -> Vec<Bytes> {
        let mut head = BytesMut::from(begun.header.encode().as_slice());
        self.pad(&mut head);
        self.truncates = false;
        let mut parts = vec![head.freeze()];
        if !self.holds.is_empty() && !planted("holds-left-behind-in-the-old-segment") {
            let holds = attachment::holds_only(&self.holds);
            let frame = FrameBuilder::with_attachment(self.next, self.chain, holds);
            let note = Note {
                begins: true,
                ..self.note(Kind::Holds, segment.id)
            };
            let mut frame = BytesMut::from(
                frame
                    .finish(note, segment.seed, segment.offset)
                    .concat()
                    .as_slice(),
            );
            self.pad(&mut frame);
            parts.push(frame.freeze());
        }
        parts
    }

    fn pad(&self, bytes: &mut BytesMut) {
        let align = usize::try_from(self.limits.align).unwrap_or(1);
        bytes.resize(bytes.len().next_multiple_of(align), 0);
    }

    fn bytes_of(&self, body: &Body) -> u64 {
        match body {
            Body::Records(frame) => frame.bytes(),
            Body::Mark => frame::HEADER_BYTES as u64,
            Body::Holds => attachment::footer_frame_bytes(&self.holds, 0),
            Body::Footer => self.footer_bytes(0),
        }
    }

    /// Bytes of the footer of the open segment, after so many more frames.
    fn footer_bytes(&self, more: usize) -> u64 {
        let entries = self
            .segment
            .as_ref()
            .map_or(0, |segment| segment.index.lock().entries().len());
        attachment::footer_frame_bytes(&self.holds, entries + more)
    }

    /// Pads, advances the cursor, and notes the write as under way.
    fn begin(
        &mut self,
        at: Position,
        mut bytes: Vec<Bytes>,
        sync: Sync,
        (end, chain): (Lsn, u64),
        kind: Kind,
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
            segment.appends = segment.appends.saturating_add(1);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.flights.push_back(Flight {
            id,
            end,
            chain,
            sync,
            begins: at.offset == 0,
            // A seal stands before the newest segment, where an open need not look.
            released: match kind {
                Kind::Seal if !planted("release-noted-by-a-seal") => Lsn::ZERO,
                _ => self.released,
            },
            stored: false,
        });
        Write {
            id,
            at,
            bytes,
            sync,
            begins: None,
            end_offset,
            stored_bytes: padded,
            kind,
            before,
        }
    }

    /// The place of the next frame: in the open segment, or in a new one if there is none
    /// or if the frame and a footer would not fit. Records leave room for some marks, too.
    /// While recovery copies what it keeps, the segment grows as needed, for a copy is one
    /// segment.
    fn place(&mut self, kind: Kind, frame_bytes: u64) -> (Segment, Option<Begun>) {
        let align = u64::from(self.limits.align);
        let mark = (frame::HEADER_BYTES as u64).next_multiple_of(align);
        let footer = self.footer_bytes(1).next_multiple_of(align);
        let reserved = match kind {
            Kind::Records => RESERVED_MARKS * mark + footer,
            Kind::Close => 0,
            _ => footer,
        };
        if let Some(segment) = &self.segment {
            let end = segment.offset + frame_bytes.next_multiple_of(align) + reserved;
            let fits = end <= self.shape.segment_bytes
                && (segment.appends < self.limits.segment_appends || kind == Kind::Close);
            if fits || self.next < self.start.copied_until {
                return (segment.clone(), None);
            }
        }
        let header = self.next_header();
        let segment = Segment {
            id: header.segment,
            seed: header.frame_seed(),
            offset: header.stored_bytes(),
            appends: 0,
            index: Arc::default(),
        };
        let begun = Begun {
            header,
            index: Arc::clone(&segment.index),
        };
        if let Some(old) = self.segment.replace(segment.clone()) {
            self.unsealed = Some(Unsealed {
                segment: old,
                end: self.next,
                chain: self.chain,
                left_at: None,
                indexed: true,
            });
        }
        (segment, Some(begun))
    }

    fn next_header(&self) -> SegmentHeader {
        let old = self.segment.as_ref();
        let (previous, previous_end) = old
            .map_or((self.start.previous, self.start.previous_end), |old| {
                (old.id, old.offset)
            });
        SegmentHeader {
            align: self.limits.align,
            log: self.start.log,
            writer: self.start.writer.id,
            epoch: self.start.writer.epoch,
            segment: old.map_or(self.start.next_segment, |old| old.id.next()),
            first: self.next,
            chain: self.chain,
            previous,
            previous_end,
            durable: self.durable,
            released: self.released,
            copied_until: self.start.copied_until.max(self.next),
            created: self.time,
            truncates: self.truncates,
        }
    }
}

impl Unsealed {
    /// The segment in which the log ended when it was opened.
    fn of_earlier_writer(place: Cut, start: &Start) -> Self {
        Unsealed {
            segment: Segment {
                id: start.previous,
                seed: start.previous_seed,
                offset: place.at.offset,
                appends: 0,
                index: Arc::default(),
            },
            end: place.at.lsn,
            chain: place.chain,
            left_at: Some((start.next, start.chain)),
            indexed: false,
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
mod tests;
