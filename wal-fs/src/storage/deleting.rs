//! Letting go of old segments, beside the writer: no commit waits for a name to be durable.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use wal_core::planted::planted;
use wal_core::{IoFuture, SegmentId, StorageError};

use super::{FileStorage, Names, Outcome, error_at, sync_names};
use crate::directory;
use crate::file_system::FileSystem;
use crate::handles::Handles;
use crate::spare;

/// What a deletion works on.
struct Deleting {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    names: Names,
    reading: Arc<Handles>,
    spares: Arc<spare::Shared>,
}

impl FileStorage {
    /// Lets go of every segment below `before` in the background.
    pub(super) fn delete_before_soon(&self, before: SegmentId) -> IoFuture<()> {
        {
            // What was still to come there goes nowhere: the file may soon be another segment.
            let mut writing = self.writing.lock();
            writing.deleted_before = writing.deleted_before.max(before);
            writing.files.retain(|id, _| *id >= before);
        }
        let deleting = Deleting {
            system: Arc::clone(&self.system),
            directory: self.directory.clone(),
            names: Arc::clone(&self.names),
            reading: Arc::clone(&self.reading),
            spares: self.spares.shared(),
        };
        let done = Arc::new(Mutex::new(Slot::default()));
        let told = Arc::clone(&done);
        self.spares.background().submit(Box::new(move || {
            let outcome = deleting.all_before(before);
            let waker = {
                let mut slot = told.lock();
                slot.outcome = Some(outcome);
                slot.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }));
        Box::pin(Done(done))
    }
}

impl Deleting {
    /// Lowest first, each durably before the next: a crash in between leaves no gap, also where
    /// names reach the medium in any order. Only then may a file be reused or unlinked.
    fn all_before(&self, before: SegmentId) -> Outcome<()> {
        loop {
            let lowest = {
                let names = self.names.lock();
                names.first_key_value().map(|(id, first)| (*id, *first))
            };
            let Some((id, first)) = lowest.filter(|(id, _)| *id < before) else {
                return Ok(());
            };
            let path = self.directory.join(directory::file_name(id, first));
            let retired = self.spares.retire(&path);
            let retired =
                retired.map_err(|cause| error_at(&self.directory, "deleting", id, cause))?;
            self.names.lock().remove(&id);
            self.reading.forget(id);
            if !planted("file-reused-before-its-old-name-is-gone") {
                sync_names(self.system.as_ref(), &self.directory)?;
            }
            self.spares.retired(retired);
        }
    }
}

/// How a deletion ended.
#[derive(Default)]
struct Slot {
    outcome: Option<Result<(), StorageError>>,
    waker: Option<Waker>,
}

struct Done(Arc<Mutex<Slot>>);

impl Future for Done {
    type Output = Result<(), StorageError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock();
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
