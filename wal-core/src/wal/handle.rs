//! What all clones of a log share: a caller's turn to drive, and the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::block_on;
use crate::shared::{Shared, State, Taken};
use crate::sync::{JoinHandle, Mutex, MutexGuard};
use crate::{Error, Lsn, Result};

/// Ends the committer thread when the last clone is gone.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
}

/// Drives the log until `own` is durable, if it is this caller's turn; else somebody else does.
///
/// Who comes first while another drives becomes the *heir*: it waits for the right to drive. Where the
/// next frame waits for a reunion, whoever completes that drives in the heir's place.
pub(super) fn drive_or_join<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>, own: &Taken) {
    let until = own.lsns.end;
    if state.heir.is_none() {
        state = inherit(shared, state, until);
        if state.heir != Some(until) {
            return;
        }
        state.heir = None;
    } else if let Some((all, _)) = state.reunion {
        if state.next < all {
            return;
        }
        state.heir = None;
    }
    let Some(driver) = state.driver.take() else {
        return;
    };
    state.reunion = None;
    drop(state);
    let driven = driver.run(shared, Some(own));
    let state = driven.state;
    let synced = state.sync_to <= shared.durable();
    let quiet = state.queue.is_empty() && state.timed && synced && !state.flight_woken;
    if !quiet || state.closing || state.heir.is_some() || !state.requests.is_empty() {
        shared.hand_over(&state);
    }
    drop(state);
    shared.wake(driven.due);
}

/// Waits, as the heir, for the right to drive, and for the reunion if there is to be one. Still the heir
/// afterwards, unless another one drives or nothing is left to do.
fn inherit<'a>(
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    until: Lsn,
) -> MutexGuard<'a, State> {
    state.heir = Some(until);
    let over =
        |state: &State| shared.durable() >= until || state.next < until || state.failure.is_some();
    while state.heir == Some(until) && !over(&state) {
        match state.reunion {
            _ if state.driver.is_none() => shared.turn.wait(&mut state),
            Some((all, deadline)) if state.next < all && !state.closing => {
                if shared.turn.wait_until(&mut state, deadline).timed_out() {
                    state.reunion = None;
                    if let Some(driver) = &mut state.driver {
                        driver.let_down();
                    }
                }
            }
            _ => return state,
        }
    }
    if state.heir == Some(until) {
        state.heir = None;
        if state.driver.is_some() {
            shared.hand_over(&state);
        }
    }
    state
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
