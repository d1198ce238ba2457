//! What all clones of a log share, and its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::block_on;
use crate::shared::Shared;
use crate::sync::{JoinHandle, Mutex};
use crate::{Error, Result};

/// Ends the committer thread when the last clone is gone.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    pub(super) fn close(&self, limit: Option<Duration>) -> Result<()> {
        let shared = &self.shared;
        if shared.check_process().is_err() {
            return Ok(()); // a fork: thread, files and lock are the parent's
        }
        {
            let mut state = shared.state.lock();
            state.closing = true;
            shared.work.notify_all();
            shared.room.notify_all();
            let deadline =
                limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit)));
            while let Some((deadline, limit)) = deadline.filter(|_| !state.closed) {
                if shared.room.wait_until(&mut state, deadline).timed_out() && !state.closed {
                    return Err(Error::Timeout(limit));
                }
            }
        }
        // The committer thread does not panic; if it did, what is not durable stays so.
        let joined = self.thread.lock().take().map(JoinHandle::join);
        if joined.is_some() {
            block_on(shared.storage.resign())?;
        }
        let state = shared.state.lock();
        state
            .failure
            .as_ref()
            .map_or(Ok(()), |cause| Err(shared.poisoned(cause)))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // There is nobody left to tell; `close` is the call that reports.
        let _ = self.close(None);
    }
}
