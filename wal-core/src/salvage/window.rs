//! Reading a segment that may be damaged in any way, in few calls.

use std::sync::Arc;

use bytes::Bytes;

use crate::block::block_on;
use crate::{SegmentId, Storage, StorageError};

/// Reads start this large and double.
const FIRST: u64 = 64 << 10;
const LARGEST: u64 = 1 << 20;

/// What was read last of one segment.
#[derive(Debug)]
pub(super) struct Window {
    storage: Arc<dyn Storage>,
    segment: SegmentId,
    bytes: Bytes,
    at: u64,
    ahead: u64,
}

impl Window {
    pub(super) fn new(storage: &Arc<dyn Storage>, segment: SegmentId) -> Self {
        Window {
            storage: Arc::clone(storage),
            segment,
            bytes: Bytes::new(),
            at: 0,
            ahead: FIRST,
        }
    }

    /// The bytes from `offset` on: `length` of them, fewer at `end` or at the segment's end.
    pub(super) fn get(
        &mut self,
        offset: u64,
        length: u64,
        end: u64,
    ) -> Result<Bytes, StorageError> {
        let length = length.min(end.saturating_sub(offset));
        if let Some(held) = self.held(offset, length) {
            return Ok(held);
        }
        let ahead = length.max(self.ahead).min(end.saturating_sub(offset));
        self.ahead = (self.ahead * 2).min(LARGEST);
        // Where a read of much fails, one of what is needed may not.
        self.bytes = self
            .read(offset, ahead)
            .or_else(|_| self.read(offset, length))?;
        self.at = offset;
        let held = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(self.bytes.slice(..held.min(self.bytes.len())))
    }

    fn read(&self, offset: u64, length: u64) -> Result<Bytes, StorageError> {
        let range = offset..offset.saturating_add(length);
        block_on(self.storage.read(self.segment, range))
    }

    fn held(&self, offset: u64, length: u64) -> Option<Bytes> {
        let skip = usize::try_from(offset.checked_sub(self.at)?).ok()?;
        let end = skip.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(skip..end))
    }

    /// The first place from `offset` on, in steps of `align`, that begins like a frame; `end` if
    /// there is none. What cannot be read is stepped over.
    pub(super) fn find(&mut self, mut offset: u64, align: u64, end: u64) -> u64 {
        let step = usize::try_from(align).unwrap_or(usize::MAX).max(1);
        while offset < end {
            let Ok(bytes) = self.get(offset, LARGEST, end) else {
                offset = offset.saturating_add(align);
                continue;
            };
            if bytes.is_empty() {
                return end;
            }
            let places = (0..bytes.len()).step_by(step);
            let magic = |at: &usize| {
                let rest = bytes.get(*at..).unwrap_or_default();
                let known = rest.len().min(crate::frame::MAGIC.len());
                rest.get(..known) == crate::frame::MAGIC.get(..known)
            };
            if let Some(at) = places.into_iter().find(magic) {
                return offset.saturating_add(at as u64);
            }
            offset = offset.saturating_add((bytes.len() as u64).next_multiple_of(align.max(1)));
        }
        end
    }
}
