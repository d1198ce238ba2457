//! A disk whose appends hang until it is told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wal_core::sim::SimStorage;
use wal_core::{IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, Sync, Writer};

#[derive(Debug, Clone)]
pub(crate) struct Slow(SimStorage, Arc<AtomicBool>);

impl Slow {
    pub(crate) fn new(disk: &SimStorage, hangs: &Arc<AtomicBool>) -> Self {
        Slow(disk.clone(), Arc::clone(hangs))
    }
}

impl Storage for Slow {
    fn limits(&self) -> Limits {
        self.0.limits()
    }
    fn acquire(&self) -> IoFuture<Writer> {
        self.0.acquire()
    }
    fn resign(&self) -> IoFuture<()> {
        self.0.resign()
    }
    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        while self.1.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.append(at, frame, sync)
    }
    fn sync(&self) -> IoFuture<()> {
        self.0.sync()
    }
    fn read(&self, segment: SegmentId, range: std::ops::Range<u64>) -> IoFuture<Bytes> {
        self.0.read(segment, range)
    }
    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        self.0.list()
    }
    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        self.0.length(segment)
    }
    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        self.0.delete_before(segment)
    }
    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        self.0.delete(segment)
    }
}
