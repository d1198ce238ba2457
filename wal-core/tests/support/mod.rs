//! A simulated disk whose names say what a test wants, that refuses to delete on request, and
//! that counts what is read.

// Each test uses a part of it.
#![allow(dead_code)]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bytes::Bytes;
use wal_core::sim::SimStorage;
use wal_core::{
    IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, StorageError, Sync, Writer,
};

#[derive(Clone, Debug)]
pub(crate) struct Odd {
    pub(crate) disk: Arc<SimStorage>,
    pub(crate) rename: fn(&mut SegmentMeta),
    pub(crate) keeps: Arc<AtomicBool>,
    /// Deletions stay under way until this is opened.
    pub(crate) gate: Option<Gate>,
    pub(crate) read: Arc<Read>,
}

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Read {
    calls: AtomicU64,
    bytes: AtomicU64,
}

impl Read {
    /// Calls and bytes since the last time.
    pub(crate) fn take(&self) -> (u64, u64) {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::SeqCst);
        (take(&self.calls), take(&self.bytes))
    }
}

/// Closed at first.
pub(crate) type Gate = Arc<Mutex<(bool, Option<Waker>)>>;

pub(crate) fn open_gate(gate: &Gate) {
    let waker = {
        let mut gate = gate.lock().unwrap();
        gate.0 = true;
        gate.1.take()
    };
    waker.into_iter().for_each(Waker::wake);
}

impl Odd {
    pub(crate) fn new(disk: &SimStorage) -> Odd {
        Odd {
            disk: Arc::new(disk.clone()),
            rename: |_| {},
            keeps: Arc::default(),
            gate: None,
            read: Arc::default(),
        }
    }
}

impl Storage for Odd {
    fn limits(&self) -> Limits {
        self.disk.limits()
    }
    fn acquire(&self) -> IoFuture<Writer> {
        self.disk.acquire()
    }
    fn resign(&self) -> IoFuture<()> {
        self.disk.resign()
    }
    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        self.disk.prepare(segment_bytes)
    }
    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        self.disk.append(at, frame, sync)
    }
    fn sync(&self) -> IoFuture<()> {
        self.disk.sync()
    }
    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        self.read.calls.fetch_add(1, Ordering::SeqCst);
        let bytes = range.end.saturating_sub(range.start);
        self.read.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.disk.read(segment, range)
    }
    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        let (listed, rename) = (self.disk.list(), self.rename);
        Box::pin(async move {
            let mut listed = listed.await?;
            listed.iter_mut().for_each(rename);
            Ok(listed)
        })
    }
    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        self.disk.length(segment)
    }
    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        if self.keeps.load(Ordering::SeqCst) {
            let cause = std::io::Error::other("it does not go");
            return Box::pin(std::future::ready(Err(StorageError::io("deleting", cause))));
        }
        let (disk, gate) = (Arc::clone(&self.disk), self.gate.clone());
        Box::pin(async move {
            if let Some(gate) = gate {
                std::future::poll_fn(|context| {
                    let mut gate = gate.lock().unwrap();
                    gate.1 = Some(context.waker().clone());
                    if gate.0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
            }
            disk.delete_before(segment).await
        })
    }
    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        self.disk.delete(segment)
    }
}
