//! Deleting what was released, beside the writes.

use std::task::{Context, Poll};

use super::Driver;
use crate::segments::Known;
use crate::shared::{Shared, State};
use crate::storage::IoFuture;
use crate::{Lsn, SegmentId, StorageError};

/// Segments are being deleted.
pub(super) struct Deletion {
    before: SegmentId,
    /// What the list of segments has lost of them.
    forgotten: Vec<Known>,
    future: IoFuture<()>,
}

impl Driver {
    /// The segment before which everything can be deleted once `released` is durable in the log.
    pub(super) fn deletable(&self, state: &State, released: Lsn) -> Option<SegmentId> {
        let oldest = state.segments.oldest()?.id;
        let keep = state.segments.of(released)?.id;
        (keep > oldest && keep > self.undeletable && self.deletion.is_none()).then_some(keep)
    }

    pub(super) fn delete(&mut self, shared: &Shared, before: SegmentId) {
        // Readers must not find what is about to vanish.
        let forgotten = shared.state.lock().segments.take_before(before);
        self.deletion = Some(Deletion {
            before,
            forgotten,
            future: shared.storage.delete_before(before),
        });
        self.poll_deletion(shared);
    }

    pub(super) fn poll_deletion(&mut self, shared: &Shared) {
        let Some(mut deletion) = self.deletion.take() else {
            return;
        };
        let mut context = Context::from_waker(&self.waker);
        match deletion.future.as_mut().poll(&mut context) {
            Poll::Pending => self.deletion = Some(deletion),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(cause)) => self.not_deleted(shared, deletion, cause),
        }
    }

    fn not_deleted(&mut self, shared: &Shared, deletion: Deletion, cause: StorageError) {
        let mut state = shared.state.lock();
        for segment in deletion.forgotten.into_iter().rev() {
            state.segments.push_oldest(segment);
        }
        state.retention_error = Some(cause);
        self.undeletable = deletion.before;
    }
}
