//! Building a write: the frame, its place, and what stands before it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Before, Begun, Committer, Flight, RESERVED_MARKS, Segment, Unsealed, Write};
use crate::frame::{FrameBuilder, Kind, Note};
use crate::index::Entry;
use crate::planted::planted;
use crate::segment::SegmentHeader;
use crate::storage::Sync;
use crate::{Lsn, Position, attachment, frame};

/// What a frame is made of.
pub(super) enum Body {
    Records(FrameBuilder),
    Mark,
    Holds,
    Footer,
}

impl Committer {
    pub(super) fn write(&mut self, body: Body, kind: Kind, sync: Sync, time: i64) -> Write {
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
        write.announces = self.announces(&write);
        write
    }

    /// Where the next segment begins, if behind this frame there is no room for one twice as long: then
    /// records leave the segment, and the storage can name the next one beside this write
    /// instead of before the next. Only where somebody waits for each.
    fn announces(&mut self, write: &Write) -> Option<Position> {
        let steady = write.kind == Kind::Records && write.sync == Sync::Yes;
        let alone = self.limits.in_flight == 1 && self.next >= self.start.copied_until;
        if !steady || !alone || write.begins.is_some() {
            return None;
        }
        let most = self.shape.segment_bytes;
        let wanted = 2 * write.stored_bytes + self.reserved(Kind::Records);
        let segment = self.segment.as_mut()?;
        segment.full |= segment.offset + wanted > most;
        segment.full.then(|| Position {
            segment: segment.id.next(),
            offset: 0,
            lsn: self.next,
        })
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
    pub(super) fn begin(
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
            announces: None,
            before,
        }
    }

    /// The place of the next frame: in the open segment, or in a new one if there is none
    /// or if the frame and a footer would not fit. Records leave room for some marks, too.
    /// While recovery copies what it keeps, the segment grows as needed, for a copy is one
    /// segment.
    fn place(&mut self, kind: Kind, frame_bytes: u64) -> (Segment, Option<Begun>) {
        let align = u64::from(self.limits.align);
        if let Some(segment) = &self.segment {
            let end = segment.offset + frame_bytes.next_multiple_of(align) + self.reserved(kind);
            let left = segment.full && kind == Kind::Records;
            let fits = end <= self.shape.segment_bytes
                && !left
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
            full: false,
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
                left_at: (self.next, self.chain),
                indexed: true,
            });
        }
        (segment, Some(begun))
    }

    /// What is to be free behind a frame of this kind.
    fn reserved(&self, kind: Kind) -> u64 {
        let align = u64::from(self.limits.align);
        let mark = (frame::HEADER_BYTES as u64).next_multiple_of(align);
        let footer = self.footer_bytes(1).next_multiple_of(align);
        match kind {
            Kind::Records => RESERVED_MARKS * mark + footer,
            Kind::Close => 0,
            _ => footer,
        }
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

pub(super) fn position(segment: &Segment, lsn: Lsn) -> Position {
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
