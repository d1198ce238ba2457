//! Storage that notes what a finished sync covered, so that the parent can take away
//! from the log what a power cut would have taken.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wal_core::{
    IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, StorageError, Sync, Writer,
};

use super::notes::SyncedNotes;

/// Stands between a log and its storage. Made for storage with one append in flight:
/// with more, the end of a synced append would say too much about those before it.
#[derive(Debug)]
pub(crate) struct Ledger<S> {
    storage: S,
    state: Arc<Mutex<State>>,
}

/// Per segment, one past the last byte that was accepted; and what was synced.
#[derive(Debug)]
struct State {
    accepted: BTreeMap<SegmentId, u64>,
    notes: SyncedNotes,
}

impl<S: Storage> Ledger<S> {
    /// Notes go to a new file at `path`.
    pub(crate) fn new(storage: S, path: &Path) -> Result<Self, StorageError> {
        let state = State {
            accepted: BTreeMap::new(),
            notes: SyncedNotes::create(path)?,
        };
        Ok(Ledger {
            storage,
            state: Arc::new(Mutex::new(state)),
        })
    }
}

impl<S: Storage> Storage for Ledger<S> {
    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        // A frame is padded to `align`; what follows it starts there.
        let length: u64 = frame.iter().map(|part| part.len() as u64).sum();
        let align = u64::from(self.storage.limits().align.max(1));
        let end = at.offset + length.div_ceil(align) * align;
        // A sync covers itself and what was accepted before it began.
        let mut covered = self.state.lock().accepted.clone();
        covered.insert(at.segment, end);
        let append = self.storage.append(at, frame, sync);
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            append.await?;
            let mut state = state.lock();
            state.accepted.insert(at.segment, end);
            match sync {
                Sync::Yes => state.notes.add(&covered),
                Sync::No => Ok(()),
            }
        })
    }

    fn announce(&self, at: Position) {
        self.storage.announce(at);
    }

    fn sync(&self) -> IoFuture<()> {
        let covered = self.state.lock().accepted.clone();
        let sync = self.storage.sync();
        let state = Arc::clone(&self.state);
        Box::pin(async move {
            sync.await?;
            state.lock().notes.add(&covered)
        })
    }

    fn limits(&self) -> Limits {
        self.storage.limits()
    }

    fn acquire(&self) -> IoFuture<Writer> {
        self.storage.acquire()
    }

    fn resign(&self) -> IoFuture<()> {
        self.storage.resign()
    }

    fn process(&self) -> u32 {
        self.storage.process()
    }

    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        self.storage.prepare(segment_bytes)
    }

    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        self.storage.read(segment, range)
    }

    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        self.storage.list()
    }

    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        self.storage.length(segment)
    }

    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        self.storage.delete_before(segment)
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        self.storage.delete(segment)
    }
}
