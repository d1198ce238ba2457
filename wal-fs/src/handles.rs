//! Files open for reading: a few, the most recently used ones.
//!
//! A handle that somebody still reads from may point to a file that was deleted or is being
//! reused for a later segment; and a reader in another process may hold one at any time.
//! Both then read bytes of another segment. That is no danger: a frame's checksum is seeded
//! with log, writer, segment and offset, so what stands there is "not a frame of this
//! segment" to whoever came for the old one, never wrong data.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use wal_core::SegmentId;

use crate::file_system::{OpenFile, read_full};

/// How many stay open: 4 GiB of segments of the usual size. Random reads over more reopen files.
const OPEN: usize = 64;

/// A buffer of this size needs no proof that there is so much to read.
const UNPROVEN: u64 = 64 << 10;

/// A file that is open for reading.
#[derive(Debug)]
pub(crate) struct Handle {
    file: Arc<dyn OpenFile>,
    /// The length when it was last asked for: buffers are sized by it, never by the caller.
    length: AtomicU64,
}

impl Handle {
    pub(crate) fn new(file: Arc<dyn OpenFile>) -> Self {
        Handle {
            file,
            length: AtomicU64::new(0),
        }
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        let length = self.file.length()?;
        self.length.store(length, Ordering::Relaxed);
        Ok(length)
    }

    /// What lies in `range`; shorter at the end of the file.
    pub(crate) fn read(&self, range: &Range<u64>) -> io::Result<Bytes> {
        let mut end = range.end;
        let wanted = end.saturating_sub(range.start);
        if wanted > UNPROVEN && end > self.length.load(Ordering::Relaxed) {
            end = end.min(self.length()?.max(range.start));
        }
        let length = usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        Ok(read_full(self.file.as_ref(), length, range.start)?.into())
    }
}

/// The handles of one log, those used recently towards the end.
#[derive(Debug, Default)]
pub(crate) struct Handles(Mutex<Vec<(SegmentId, Arc<Handle>)>>);

impl Handles {
    pub(crate) fn get(&self, segment: SegmentId) -> Option<Arc<Handle>> {
        let mut open = self.0.lock();
        let at = open.iter().rposition(|(id, _)| *id == segment)?;
        let last = open.len() - 1;
        open.swap(at, last);
        open.last().map(|(_, handle)| Arc::clone(handle))
    }

    pub(crate) fn put(&self, segment: SegmentId, handle: &Arc<Handle>) {
        let mut open = self.0.lock();
        open.retain(|(id, _)| *id != segment);
        if open.len() >= OPEN {
            open.remove(0);
        }
        open.push((segment, Arc::clone(handle)));
    }

    pub(crate) fn forget(&self, segment: SegmentId) {
        self.0.lock().retain(|(id, _)| *id != segment);
    }
}
