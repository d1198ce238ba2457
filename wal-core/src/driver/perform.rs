//! What is asked of a driver besides appends: done while nothing else is under way.

use std::time::Instant;

use super::{Driver, Started, now_micros};
use crate::block::block_on;
use crate::committer::{Committer, Write};
use crate::frame::Kind;
use crate::map::Map;
use crate::planted::planted;
use crate::request::Work;
use crate::segments::Known;
use crate::shared::Shared;
use crate::storage::Sync;
use crate::sync::Ordering;
use crate::truncate;
use crate::{Error, Lsn, Result, StorageError};

impl Driver {
    /// Does what was asked for; nothing else is under way.
    pub(super) fn perform(&mut self, shared: &Shared, work: Work) -> Result<()> {
        match work {
            Work::Holds => {
                let holds = shared.state.lock().retention.named().clone();
                let before = self.committer.set_holds(holds);
                let mark = self.committer.mark(Kind::Holds, Sync::Yes, now_micros());
                self.perform_write(shared, mark).inspect_err(|_| {
                    // Or the next segment would begin with what was refused.
                    self.committer.set_holds(before);
                })
            }
            Work::Truncate(to) => {
                let outcome = self.truncate(shared, to);
                shared.state.lock().paused = false;
                shared.room.notify_all();
                outcome
            }
        }
    }

    /// Writes, and waits until it is durable; also what has to be written for that.
    fn perform_write(&mut self, shared: &Shared, write: Write) -> Result<()> {
        let mut next = Some(write);
        while let Some(mut write) = next.take() {
            let bytes = std::mem::take(&mut write.bytes);
            let begun = Instant::now();
            match block_on(shared.storage.append(write.at, bytes, write.sync)) {
                Ok(()) => self.finish(shared, Started::new(write, begun), Ok(())),
                Err(StorageError::Full(_)) if write.kind == Kind::Seal => {
                    self.committer.revert(&write);
                    self.committer.skip_seal();
                    self.publish(shared);
                }
                Err(cause @ StorageError::Full(_)) => {
                    self.committer.revert(&write);
                    return Err(Error::Full(cause));
                }
                Err(cause) => {
                    let error = shared.poisoned(&cause);
                    shared.poison(cause);
                    return Err(error);
                }
            }
            next = self.committer.seal(now_micros());
        }
        Ok(())
    }

    fn truncate(&mut self, shared: &Shared, to: Lsn) -> Result<()> {
        let segment = shared.segment_of(to)?;
        let segment = segment.ok_or(Error::Beyond {
            asked: to,
            end: self.committer.next(),
        })?;
        let limit = shared.limit_of(segment.header.segment)?;
        let kept = truncate::find(&shared.storage, &segment, limit, to)?;
        let last = kept.last_segment();
        let before = self.committer.clone();
        // From here on nothing at or above `to` is shown or acknowledged any more.
        let (superseded, wake) = {
            let mut state = shared.state.lock();
            state.paused = true;
            let wake = shared.cancel(&mut state, to, Error::Truncated { to });
            state.truncations.add(to);
            state.retention.truncate(to);
            if !planted("readers-not-told-of-a-truncation") {
                shared.truncated.fetch_add(1, Ordering::SeqCst);
            }
            state.receipt = kept.receipt();
            state.written = state.receipt.0;
            shared
                .durable
                .store(state.receipt.0.get(), Ordering::SeqCst);
            (state.segments.take_after(last), wake)
        };
        shared.wake(wake);
        self.groups.clear();
        let write = kept.apply(&mut self.committer, to);
        if let Err(error) = self.perform_write(shared, write) {
            self.undo_truncate(shared, &error, before, superseded);
            return Err(error);
        }
        for known in superseded {
            if let Err(cause) = block_on(shared.storage.delete(known.id)) {
                let error = shared.poisoned(&cause);
                shared.poison(cause);
                return Err(error);
            }
        }
        Ok(())
    }

    /// There was no space for the segment that would have said so: the log goes on where it was.
    /// Commits and readers beyond have been told of the truncation all the same.
    fn undo_truncate(
        &mut self,
        shared: &Shared,
        error: &Error,
        before: Committer,
        superseded: Vec<Known>,
    ) {
        if !matches!(error, Error::Full(_)) {
            return;
        }
        self.committer = before;
        let mut state = shared.state.lock();
        for known in superseded {
            state.segments.push(known);
        }
        state.next = self.committer.next();
        state.written = self.committer.written();
        state.receipt = self.committer.receipt();
        shared
            .durable
            .store(state.receipt.0.get(), Ordering::SeqCst);
    }
}
