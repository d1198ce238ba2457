//! A storage used without a log, and what must be in it.

use bytes::Bytes;

use super::Place;
use crate::block::block_on;
use crate::storage::Sync;
use crate::{Lsn, Position, SegmentId, Storage};

/// A storage with what was appended to it.
pub(super) struct Raw<S> {
    pub(super) storage: S,
    pub(super) written: Vec<(Position, Vec<u8>)>,
}

impl<S: Storage> Raw<S> {
    /// Opens a place as its writer.
    pub(super) fn writer<P: Place<Storage = S>>(place: &P) -> Raw<S> {
        let storage = place.open();
        block_on(storage.acquire()).expect("the place is free");
        block_on(storage.prepare(64 << 10)).expect("there is space");
        Raw {
            storage,
            written: Vec::new(),
        }
    }

    /// Where the next append to a segment goes; LSNs are made up from it.
    pub(super) fn place(&self, segment: u64) -> Position {
        let segment = SegmentId::new(segment);
        let before = self.written.iter().filter(|(at, _)| at.segment == segment);
        let offset: usize = before.map(|(_, bytes)| bytes.len()).sum();
        Position {
            segment,
            offset: offset as u64,
            lsn: Lsn::new(segment.get() * 1000 + offset as u64),
        }
    }

    /// Starts an append of `blocks` times the alignment, and notes it.
    pub(super) fn start(&mut self, segment: u64, blocks: usize, sync: Sync) -> crate::IoFuture<()> {
        let at = self.place(segment);
        let frame = frame(&self.storage, blocks, self.written.len() as u8 + 1);
        self.written.push((at, frame.concat()));
        self.storage.append(at, frame, sync)
    }

    pub(super) fn append(&mut self, segment: u64, blocks: usize, sync: Sync) {
        block_on(self.start(segment, blocks, sync)).expect("append");
    }

    /// That `other` shows exactly what was appended here.
    pub(super) fn check(&self, other: &S) {
        let listed = block_on(other.list()).expect("list");
        let mut expected: Vec<_> = self.written.iter().map(|(at, _)| at.segment).collect();
        expected.sort();
        expected.dedup();
        let ids: Vec<_> = listed.iter().map(|meta| meta.id).collect();
        assert_eq!(ids, expected, "rule 7: list names every segment, in order");
        for meta in &listed {
            let created = self
                .written
                .iter()
                .find(|(at, _)| at.segment == meta.id && at.offset == 0);
            let first = created.map(|(at, _)| at.lsn);
            assert!(
                meta.first.is_none() || meta.first == first,
                "{meta:?}, {first:?}"
            );
        }
        for (at, bytes) in &self.written {
            let end = at.offset + bytes.len() as u64;
            let length = block_on(other.length(at.segment)).expect("length");
            assert!(
                length >= end,
                "rule 6: length {length} of {end} is no upper bound"
            );
            let read = block_on(other.read(at.segment, at.offset..end)).expect("read");
            assert!(
                read == *bytes,
                "rule 1, 6: other bytes than were appended at {at}"
            );
        }
    }
}

/// Bytes for an append, in several parts, distinct for each `tag`.
pub(super) fn frame<S: Storage>(storage: &S, blocks: usize, tag: u8) -> Vec<Bytes> {
    let align = (storage.limits().align as usize).max(64);
    let mut bytes: Vec<u8> = (0..align * blocks)
        .map(|at| at as u8 ^ (at >> 8) as u8)
        .collect();
    bytes
        .iter_mut()
        .for_each(|byte| *byte ^= tag.wrapping_mul(37));
    let bytes = Bytes::from(bytes);
    vec![bytes.slice(..17), Bytes::new(), bytes.slice(17..)]
}

/// Takes the writer away as hard as the place can: power loss, else kill, else a drop.
pub(super) fn end<P: Place>(place: &P, raw: Raw<P::Storage>) -> Raw<P::Storage> {
    if !place.crash() {
        place.kill();
    }
    let written = raw.written;
    drop(raw.storage);
    Raw {
        storage: place.open(),
        written,
    }
}
