//! A segment file that is open for appending.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use wal_core::planted::planted;

use crate::file_system::{OpenFile, write_full};
use crate::fill::zero;
use crate::through::{self, Buffer};

/// How far ahead a file that was not prepared is filled with zeros at a time.
const AHEAD: u64 = 512 << 10;

/// So much that is written and not synced is enough to begin with the writing to the medium.
const EARLY: u64 = 1 << 20;

/// A file, the offset at which the next frame goes, and whether it has unsynced data.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    file: Arc<dyn OpenFile>,
    end: u64,
    /// Up to here blocks exist.
    allocated: u64,
    /// Up to here they have been written, with frames or with zeros.
    prepared: u64,
    /// Up to here the medium has them.
    settled: u64,
    /// Up to here the system was told to begin with the writing.
    begun: u64,
    dirty: bool,
    /// The file once more, for writes past the page cache.
    through: Option<Arc<dyn OpenFile>>,
}

impl SegmentFile {
    /// A file that has `allocated` bytes, of which the first `prepared` were written before.
    pub(crate) fn new(file: Arc<dyn OpenFile>, allocated: u64, prepared: u64) -> Self {
        SegmentFile {
            file,
            end: 0,
            allocated,
            prepared,
            settled: prepared,
            begun: 0,
            dirty: false,
            through: None,
        }
    }

    /// Whether a frame of so many bytes fits from the start.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        bytes <= self.allocated
    }

    /// From now on frames may be written past the page cache, if they find blocks that were
    /// written before.
    pub(crate) fn set_through(&mut self, file: Option<Arc<dyn OpenFile>>) {
        self.through = file;
    }

    /// Writes the frame at `offset`.
    pub(crate) fn append(&mut self, offset: u64, frame: &[Bytes]) -> io::Result<()> {
        self.dirty = true;
        let mut parts: Vec<IoSlice<'_>> = frame.iter().map(|part| IoSlice::new(part)).collect();
        write_full(self.file.as_ref(), &mut parts, offset)?;
        self.end = offset + frame.iter().map(|part| part.len() as u64).sum::<u64>();
        self.prepared = self.prepared.max(self.end);
        Ok(())
    }

    /// Has the medium begin with what was written and is not synced, if that is much: then it works
    /// while more is written, and a sync finds little left to do. No frame is written to
    /// a block twice, so nothing reaches the medium twice. Small segments wait for less.
    /// Measured: docs/SPEED.md; `PostgreSQL` (`checkpoint_flush_after`) and `RocksDB`
    /// (`wal_bytes_per_sync`) do the same.
    pub(crate) fn begin_writing_back(&mut self) -> io::Result<()> {
        let range = self.begun..self.end;
        if range.end.saturating_sub(range.start) < EARLY.min(self.allocated / 16) {
            return Ok(());
        }
        self.begun = self.end;
        let begun = self.file.begin_writing_back(range);
        if planted("failed-writeback-ignored") {
            return Ok(());
        }
        begun
    }

    /// Writes the frame at `offset`, durably, past the page cache, if that is possible and saves
    /// time; else nothing is written.
    pub(crate) fn append_through(
        &mut self,
        offset: u64,
        frame: &[Bytes],
        buffer: &mut Buffer,
    ) -> io::Result<bool> {
        let end = offset + frame.iter().map(|part| part.len() as u64).sum::<u64>();
        let ready = end <= self.settled && Buffer::takes(end - offset);
        let Some(file) = self.through.as_deref().filter(|_| ready) else {
            return Ok(false);
        };
        let written = through::write(file, buffer, offset, frame)?;
        if written {
            (self.end, self.begun) = (end, end);
        } else {
            self.through = None;
        }
        Ok(written)
    }

    /// Makes sure that a frame which ends at `end` finds space; nothing is written if not.
    pub(crate) fn allocate(&mut self, end: u64) -> io::Result<()> {
        if end > self.allocated {
            let allocated = self.file.allocate(self.allocated, end);
            if !planted("no-space-taken-for-success") {
                allocated?;
            }
            self.allocated = end;
        }
        Ok(())
    }

    /// Fills blocks ahead of the end with zeros, if a frame of `bytes` that is to be synced
    /// would reach blocks that were never written: then one sync in many allocates blocks
    /// for all of them. Frames that are large themselves gain nothing from so little, and more
    /// would hold up the commit: for them there are spares.
    pub(crate) fn prepare_for(&mut self, bytes: u64) {
        let end = self.end + bytes;
        if end <= self.prepared || bytes > AHEAD / 4 {
            return;
        }
        let ahead = self.allocated.min(end + AHEAD);
        // Without it the commit is slower, not wrong: errors show when the frame is written.
        if ahead > end && zero(self.file.as_ref(), end, ahead).is_ok() {
            self.prepared = ahead;
        }
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.dirty && !planted("data-not-synced") {
            let synced = self.file.sync_data();
            if synced.is_err() && planted("failed-fdatasync-tried-again") {
                return self.file.sync_data();
            }
            synced?;
            self.dirty = false;
            self.settled = self.prepared;
            self.begun = self.end;
        }
        Ok(())
    }

    /// Where the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Cuts off what was prepared beyond the last frame.
    pub(crate) fn trim(&self) -> io::Result<()> {
        self.file.set_length(self.end)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }
}
