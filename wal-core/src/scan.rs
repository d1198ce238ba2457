//! Walking the frames of a segment: one rule of validity for recovery and readers.
//!
//! A frame counts if and only if its header, its table and every record verify,
//! and it continues what came before: LSN and chain value. Everything else is
//! "nothing here", with the reason; what that means is for the caller to say.

use std::sync::Arc;

use bytes::Bytes;

use crate::block::block_on;
use crate::frame::{self, Frame, FrameHeader, Kind};
use crate::segment::SegmentHeader;
use crate::{Lsn, Position, Storage, StorageError};

/// Reads start this large and double, so that a short log costs little and a long one few calls.
/// What was copied is verified while it is in the processor's cache.
const FIRST_WINDOW: u64 = 64 << 10;
const LARGEST_WINDOW: u64 = 256 << 10;

/// What lies at the walker's place.
#[derive(Debug)]
pub(crate) enum Found {
    /// The next frame of the log.
    Frame(Frame),
    /// No valid continuation, and why.
    Nothing(&'static str),
}

/// Walks one segment, frame by frame.
#[derive(Debug)]
pub(crate) struct Walker {
    storage: Arc<dyn Storage>,
    header: SegmentHeader,
    seed: u32,
    /// No frame reaches beyond this offset.
    limit: u64,
    offset: u64,
    lsn: Lsn,
    chain: u64,
    window: Bytes,
    window_at: u64,
    window_bytes: u64,
}

impl Walker {
    /// At the first frame of the segment with this header; `limit` bounds its length.
    pub(crate) fn new(storage: Arc<dyn Storage>, header: SegmentHeader, limit: u64) -> Self {
        Walker {
            storage,
            seed: header.frame_seed(),
            limit,
            offset: header.stored_bytes(),
            lsn: header.first,
            chain: header.chain,
            header,
            window: Bytes::new(),
            window_at: 0,
            window_bytes: FIRST_WINDOW,
        }
    }

    /// At a later place of the same segment, where a frame starts.
    pub(crate) fn at(mut self, offset: u64, lsn: Lsn, chain: u64) -> Self {
        (self.offset, self.lsn, self.chain) = (offset, lsn, chain);
        self
    }

    /// Where the walker stands.
    pub(crate) fn position(&self) -> Position {
        Position {
            segment: self.header.segment,
            offset: self.offset,
            lsn: self.lsn,
        }
    }

    /// The chain value before the next record.
    pub(crate) fn chain(&self) -> u64 {
        self.chain
    }

    /// Sets a new bound, and forgets bytes that were read before it was known.
    pub(crate) fn extend(&mut self, limit: u64) {
        self.limit = limit;
        self.window = Bytes::new();
    }

    /// Verifies what lies at the walker's place, and steps over it if it is a frame.
    pub(crate) fn next(&mut self) -> Result<Found, StorageError> {
        let head = self.bytes(frame::HEADER_BYTES as u64)?;
        let header = match FrameHeader::decode(&head, self.seed, self.offset) {
            Ok(header) => header,
            Err(reason) => return Ok(Found::Nothing(reason)),
        };
        if header.first != self.lsn || header.chain != self.chain {
            return Ok(Found::Nothing("a frame does not continue the one before"));
        }
        let Some(bytes) = header.bytes().filter(|bytes| *bytes <= self.left()) else {
            return Ok(Found::Nothing("a frame is longer than its segment"));
        };
        match Frame::verify(header, &self.bytes(bytes)?) {
            Ok(frame) => {
                self.offset += bytes.next_multiple_of(u64::from(self.header.align));
                self.lsn = header.end();
                self.chain = frame.chain_after;
                Ok(Found::Frame(frame))
            }
            Err(reason) => Ok(Found::Nothing(reason)),
        }
    }

    /// The header of the next frame and its offset, without verifying what follows: only for
    /// finding a place whose content is verified when it is read. `None` at the end.
    pub(crate) fn next_header(&mut self) -> Result<Option<(u64, FrameHeader)>, StorageError> {
        let head = self.bytes(frame::HEADER_BYTES as u64)?;
        let offset = self.offset;
        let Ok(header) = FrameHeader::decode(&head, self.seed, offset) else {
            return Ok(None);
        };
        let Some(bytes) = header.bytes().filter(|bytes| *bytes <= self.left()) else {
            return Ok(None);
        };
        self.offset += bytes.next_multiple_of(u64::from(self.header.align));
        self.lsn = header.end();
        Ok(Some((offset, header)))
    }

    /// The highest durable LSN that any frame after this place attests, valid in itself
    /// or not part of the log any more; and the bytes from here to the last such frame.
    pub(crate) fn probe_beyond(&mut self) -> Result<Beyond, StorageError> {
        let start = self.offset;
        let step = u64::from(self.header.align);
        let mut beyond = Beyond::default();
        while self.left() >= frame::HEADER_BYTES as u64 {
            let head = self.bytes(frame::HEADER_BYTES as u64)?;
            if head.is_empty() {
                break;
            }
            if beyond.first_bytes_are_zero.is_none() {
                beyond.first_bytes_are_zero = Some(head.iter().all(|byte| *byte == 0));
            }
            if let Ok(header) = FrameHeader::decode(&head, self.seed, self.offset) {
                beyond.durable = beyond.durable.max(header.durable);
                beyond.sealed |= header.kind == Kind::Seal;
                let length = header.bytes().unwrap_or(0);
                beyond.bytes = (self.offset - start)
                    .saturating_add(length)
                    .min(self.limit - start);
            }
            self.offset += step;
        }
        self.offset = start;
        Ok(beyond)
    }

    /// Bytes from the walker's place to the segment's end.
    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.offset)
    }

    /// `length` bytes from the walker's place, fewer at the end of the segment.
    fn bytes(&mut self, length: u64) -> Result<Bytes, StorageError> {
        let length = length.min(self.left());
        if let Some(bytes) = self.in_window(length) {
            return Ok(bytes);
        }
        let ahead = self.ahead_of(length).min(self.left());
        let range = self.offset..self.offset + ahead;
        self.window = Bytes::new(); // its memory may serve again
        self.window = block_on(self.storage.read(self.header.segment, range))?;
        self.window_at = self.offset;
        self.window_bytes = (self.window_bytes * 2).min(LARGEST_WINDOW);
        let held = self
            .window
            .len()
            .min(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(self.window.slice(..held))
    }

    /// How much to read where a frame of `length` bytes is wanted: as many of the kind as the
    /// window holds, and the header after them, which tells how much to read then. So frames
    /// that are alike are read once, whatever their length.
    fn ahead_of(&self, length: u64) -> u64 {
        let header = frame::HEADER_BYTES as u64;
        if length <= header {
            return self.window_bytes;
        }
        let each = length.next_multiple_of(u64::from(self.header.align));
        each * (self.window_bytes / each).max(1) + header
    }

    fn in_window(&self, length: u64) -> Option<Bytes> {
        let skip = usize::try_from(self.offset.checked_sub(self.window_at)?).ok()?;
        let end = skip.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.window.len()).then(|| self.window.slice(skip..end))
    }
}

/// What lies beyond the last valid frame of a segment.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Beyond {
    /// The highest durable LSN attested there.
    pub(crate) durable: Lsn,
    /// Whether a seal stands there.
    pub(crate) sealed: bool,
    /// Bytes up to the end of the last frame found there.
    pub(crate) bytes: u64,
    /// Whether the next frame's place is untouched; `None` if there is none.
    pub(crate) first_bytes_are_zero: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameBuilder, Note};
    use crate::sim::SimStorage;
    use crate::storage::Sync;
    use crate::{Epoch, Identity, SegmentId};

    fn header() -> SegmentHeader {
        SegmentHeader {
            align: 4096,
            log: Identity::new(1),
            writer: Identity::new(2),
            epoch: Epoch::new(1),
            segment: SegmentId::new(1),
            first: Lsn::ZERO,
            chain: 0,
            previous: SegmentId::default(),
            previous_end: 0,
            durable: Lsn::ZERO,
            released: Lsn::ZERO,
            copied_until: Lsn::ZERO,
            created: 0,
            truncates: false,
        }
    }

    /// A frame of one record, with everything right for its place but what is asked for.
    fn frame(payload: &'static [u8], first: Lsn, chain: u64, offset: u64) -> (Vec<Bytes>, u64) {
        let mut frame = FrameBuilder::new(first, chain, 1);
        let length = u32::try_from(payload.len()).unwrap();
        frame.push(vec![Bytes::from_static(payload)], [length]);
        let (_, after) = frame.end();
        let note = Note {
            kind: Kind::Records,
            durable: Lsn::ZERO,
            released: Lsn::ZERO,
            time: 0,
            segment: SegmentId::new(1),
            begins: false,
        };
        let mut bytes = frame.finish(note, header().frame_seed(), offset).concat();
        bytes.resize(4096, 0);
        (vec![bytes.into()], after)
    }

    /// How many frames count, if the second has this first LSN and chain.
    fn frames_that_count(second: impl Fn(u64) -> (Lsn, u64)) -> usize {
        let disk = SimStorage::new(1);
        let writer = block_on(disk.acquire()).unwrap();
        assert_eq!(writer.epoch, Epoch::new(1));
        let mut head = header().encode();
        head.resize(4096, 0);
        let (first_frame, chain) = frame(b"one", Lsn::ZERO, 0, 4096);
        let (lsn, chain) = second(chain);
        let (second_frame, _) = frame(b"two", lsn, chain, 8192);
        let bytes = [vec![head.into()], first_frame, second_frame].concat();
        let at = Position {
            segment: SegmentId::new(1),
            offset: 0,
            lsn: Lsn::ZERO,
        };
        block_on(disk.append(at, bytes, Sync::Yes)).unwrap();
        let mut walker = Walker::new(Arc::new(disk), header(), 12_288);
        std::iter::from_fn(|| match walker.next().unwrap() {
            Found::Frame(frame) => Some(frame),
            Found::Nothing(_) => None,
        })
        .count()
    }

    #[test]
    fn a_frame_counts_only_if_it_continues_the_one_before() {
        assert_eq!(frames_that_count(|chain| (Lsn::new(1), chain)), 2);
        assert_eq!(
            frames_that_count(|chain| (Lsn::new(1), chain ^ 1)),
            1,
            "another history"
        );
        assert_eq!(frames_that_count(|chain| (Lsn::new(2), chain)), 1, "a hole");
        assert_eq!(frames_that_count(|chain| (Lsn::ZERO, chain)), 1, "a repeat");
    }
}
