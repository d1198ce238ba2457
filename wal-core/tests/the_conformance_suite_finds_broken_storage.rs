//! A test that cannot fail proves nothing: each of these storages breaks the contract in one
//! way that has been seen in the wild or is easy to write by mistake, and the suite must say so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use wal_core::conformance::{self, Place};
use wal_core::sim::SimStorage;
use wal_core::{
    Epoch, IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, StorageError, Sync, Writer,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    None,
    AcknowledgesBeforeItIsDurable,
    SyncDoesNothing,
    LosesTheNameOfANewSegment,
    ListsWithoutTheNewest,
    ListsInReverse,
    ReplacesATakenPosition,
    DeletesOneTooMany,
    DeletedSegmentsComeBack,
    SecondAcquireSucceeds,
    EpochDoesNotGrow,
    ReadsStaleBytes,
    ReadsShort,
    WhatIsMissingIsEmpty,
    LengthIsTooShort,
    StoresOnlyTheFirstPart,
    DroppingTheFutureCancels,
    FullAfterStoring,
    ResignIsForgotten,
    AnnouncingBegins,
}

use Bug::*;

const BUGS: [Bug; 19] = [
    AcknowledgesBeforeItIsDurable,
    SyncDoesNothing,
    LosesTheNameOfANewSegment,
    ListsWithoutTheNewest,
    ListsInReverse,
    ReplacesATakenPosition,
    DeletesOneTooMany,
    DeletedSegmentsComeBack,
    SecondAcquireSucceeds,
    EpochDoesNotGrow,
    ReadsStaleBytes,
    ReadsShort,
    WhatIsMissingIsEmpty,
    LengthIsTooShort,
    StoresOnlyTheFirstPart,
    DroppingTheFutureCancels,
    FullAfterStoring,
    ResignIsForgotten,
    AnnouncingBegins,
];

#[derive(Debug)]
struct Broken {
    disk: Arc<SimStorage>,
    bug: Bug,
    /// Shared by all who open the place.
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    created: Vec<SegmentId>,
    deleted: Option<SimStorage>,
    read: BTreeMap<(SegmentId, u64), Bytes>,
}

impl Broken {
    fn new(bug: Bug) -> Self {
        Broken {
            disk: Arc::new(SimStorage::new(3)),
            bug,
            kept: Arc::default(),
        }
    }

    fn is(&self, bug: Bug) -> bool {
        self.bug == bug
    }
}

impl Place for Broken {
    type Storage = Broken;

    fn open(&self) -> Broken {
        Broken {
            disk: Arc::new(SimStorage::clone(&self.disk)),
            kept: Arc::clone(&self.kept),
            ..*self
        }
    }

    fn kill(&self) -> bool {
        self.disk.kill();
        true
    }

    fn crash(&self) -> bool {
        self.disk.crash();
        let kept = &mut *self.kept.lock().unwrap();
        let created = std::mem::take(&mut kept.created);
        if self.is(LosesTheNameOfANewSegment) && created.len() > 1 {
            created
                .last()
                .into_iter()
                .for_each(|newest| self.disk.lose(*newest));
        }
        if let Some(before) = kept.deleted.take() {
            self.disk.restore(&before);
        }
        true
    }

    fn limit(&self, full: bool) -> bool {
        Place::limit(&*self.disk, full)
    }

    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        Place::damage(&*self.disk, segment, offset)
    }
}

fn ready<T: Send + 'static>(result: Result<T, StorageError>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

/// The outcome of a call to the simulated disk, which is ready at once.
fn now<T>(future: IoFuture<T>) -> Result<T, StorageError> {
    let mut future = future;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => panic!("one append in flight is ready at once"),
    }
}

impl Storage for Broken {
    fn limits(&self) -> Limits {
        self.disk.limits()
    }

    fn acquire(&self) -> IoFuture<Writer> {
        let mut writer = now(self.disk.acquire());
        if self.is(SecondAcquireSucceeds) && writer.is_err() {
            self.disk.kill();
            writer = now(self.disk.acquire());
        }
        if self.is(EpochDoesNotGrow) {
            writer = writer.map(|writer| Writer {
                epoch: Epoch::new(1),
                ..writer
            });
        }
        ready(writer)
    }

    fn resign(&self) -> IoFuture<()> {
        if self.is(ResignIsForgotten) {
            return ready(Ok(()));
        }
        self.disk.resign()
    }

    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        self.disk.prepare(segment_bytes)
    }

    fn announce(&self, at: Position) {
        if self.is(AnnouncingBegins) {
            let _ = now(self.disk.append(at, vec![vec![7; 64].into()], Sync::No));
        }
    }

    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        let listed = now(self.disk.list()).unwrap();
        let taken = listed.iter().any(|meta| meta.id == at.segment);
        if at.offset == 0 && !taken {
            self.kept.lock().unwrap().created.push(at.segment);
        }
        if self.is(ReplacesATakenPosition) && at.offset == 0 && taken {
            self.disk.lose(at.segment);
        }
        let (frame, sync) = match self.bug {
            AcknowledgesBeforeItIsDurable => (frame, Sync::No),
            StoresOnlyTheFirstPart => {
                let mut parts = frame;
                for part in parts.iter_mut().skip(1) {
                    *part = vec![0; part.len()].into();
                }
                (parts, sync)
            }
            DroppingTheFutureCancels => {
                let disk = Arc::clone(&self.disk);
                return Box::pin(async move { disk.append(at, frame, sync).await });
            }
            _ => (frame, sync),
        };
        let stored = now(self.disk.append(at, frame.clone(), sync));
        if self.is(FullAfterStoring) && matches!(stored, Err(StorageError::Full(_))) {
            Place::limit(&*self.disk, false);
            now(self.disk.append(at, frame, sync)).unwrap();
        }
        ready(stored)
    }

    fn sync(&self) -> IoFuture<()> {
        match self.bug {
            SyncDoesNothing => ready(Ok(())),
            _ => self.disk.sync(),
        }
    }

    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        let read = now(self.disk.read(segment, range.clone()));
        ready(match (self.bug, read) {
            (ReadsStaleBytes, Ok(read)) => {
                let kept = &mut self.kept.lock().unwrap().read;
                let stale = kept.entry((segment, range.start)).or_insert(read);
                let wanted = usize::try_from(range.end - range.start).unwrap();
                Ok(stale.slice(..wanted.min(stale.len())))
            }
            (ReadsShort, Ok(read)) => Ok(read.slice(..read.len() - read.len().min(1))),
            (WhatIsMissingIsEmpty, Err(StorageError::NotFound(_))) => Ok(Bytes::new()),
            (_, read) => read,
        })
    }

    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        let mut listed = now(self.disk.list()).unwrap();
        match self.bug {
            ListsWithoutTheNewest => drop(listed.pop()),
            ListsInReverse => listed.reverse(),
            _ => {}
        }
        ready(Ok(listed))
    }

    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        let length = now(self.disk.length(segment));
        ready(match self.bug {
            LengthIsTooShort => length.map(|length| length - 1),
            _ => length,
        })
    }

    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        if self.is(DeletedSegmentsComeBack) {
            self.kept.lock().unwrap().deleted = Some(self.disk.fork());
        }
        match self.bug {
            DeletesOneTooMany => self.disk.delete_before(segment.next()),
            _ => self.disk.delete_before(segment),
        }
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        self.disk.delete(segment)
    }
}

/// The checks that fail on a storage with this bug.
fn failing(bug: Bug) -> Vec<&'static str> {
    let checks = conformance::checks::<Broken>();
    let failing = checks.into_iter().filter(|(_, check)| {
        catch_unwind(AssertUnwindSafe(|| check(&|| Broken::new(bug)))).is_err()
    });
    failing.map(|(name, _)| name).collect()
}

#[test]
fn every_planted_bug_is_reported_and_nothing_else() {
    std::panic::set_hook(Box::new(|_| {})); // they are expected
    let sound = failing(None);
    let found: Vec<_> = BUGS.iter().map(|bug| (*bug, failing(*bug))).collect();
    let _ = std::panic::take_hook();
    assert!(sound.is_empty(), "without a bug: {sound:?}");
    for (bug, failing) in &found {
        println!("{bug:?}: {failing:?}");
    }
    let missed: Vec<_> = found
        .iter()
        .filter(|(_, failing)| failing.is_empty())
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
