//! How far the log is, that it failed, and who is told.

use std::task::Waker;

use super::{Shared, State, Wake};
use crate::bells::Ring;
use crate::generation::Generation;
use crate::group::Queue;
use crate::planted::planted_or;
use crate::sync::Ordering;
use crate::{Error, Lsn, Result, StorageError};

impl Shared {
    /// Publishes how far the log is; returns whose wakers are to be woken, outside the lock.
    pub(crate) fn advance(
        &self,
        state: &mut State,
        written: Lsn,
        receipt: (Lsn, u64),
    ) -> Vec<Waker> {
        let mut woken = Vec::new();
        if written > state.written {
            state.written = written;
            woken.extend(state.until_written.reached(written));
        }
        let (durable, _) = receipt;
        if durable > self.durable() {
            state.receipt = receipt;
            self.durable.store(durable.get(), Ordering::SeqCst);
            woken.extend(state.until_durable.reached(durable));
            // Also who was the heir, and fell asleep before another took over.
            if state.heir.is_none_or(|until| durable >= until) {
                self.turn.notify_all();
            }
        }
        woken
    }

    pub(crate) fn wake(&self, wake: Wake) {
        self.bells.ring(wake.ring);
        wake.wakers.into_iter().for_each(Waker::wake);
    }

    /// The driver was put back, and there may be work left: wakes who goes on.
    pub(crate) fn hand_over(&self, state: &State) {
        if state.heir.is_some() {
            self.turn.notify_all();
        } else {
            self.work.notify_one();
        }
    }

    /// G5: the handle is finished. Everyone who waits is told.
    pub(crate) fn poison(&self, cause: StorageError) {
        let wake = {
            let mut state = self.state.lock();
            state.failure.get_or_insert(cause);
            state.queue = Queue::default();
            state.queued_bytes = 0;
            self.everyone(&mut state)
        };
        self.wake(wake);
    }

    /// Everyone who waits for anything.
    pub(crate) fn everyone(&self, state: &mut State) -> Wake {
        if let Some(cause) = &state.failure {
            self.failures.fetch_add(1, Ordering::SeqCst);
            for request in state.requests.drain(..) {
                request.reply.give(Err(self.poisoned(cause)));
            }
        }
        self.room.notify_all();
        self.work.notify_all();
        self.turn.notify_all();
        let mut wakers: Vec<Waker> = state.until_written.all().collect();
        wakers.extend(state.until_durable.all());
        let ring = planted_or("failure-rings-no-bell", Ring::default(), Ring::both());
        Wake::new(wakers, ring)
    }

    /// Why an append that ends at `end` will never come to anything, if so: it was cancelled
    /// while it was queued, or truncated later.
    pub(crate) fn given_up(
        &self,
        generation: &Generation,
        truncated: Option<u64>,
        end: Lsn,
    ) -> Option<Error> {
        if let Some(why) = generation.cancelled(end) {
            return Some(why);
        }
        let seen = truncated?;
        if self.truncated.load(Ordering::SeqCst) == seen {
            return None;
        }
        let to = self.state.lock().truncations.since(seen)?;
        (end > to).then_some(Error::Truncated { to })
    }

    /// Whether a durable append has come to an end, without the lock.
    pub(crate) fn outcome(
        &self,
        generation: &Generation,
        truncated: Option<u64>,
        end: Lsn,
    ) -> Option<Result<()>> {
        let reached = self.durable() >= end;
        // Looked at after the LSN: a cancelled one is reached by another append later.
        if let Some(why) = self.given_up(generation, truncated, end) {
            return Some(Err(why));
        }
        if reached {
            return Some(Ok(()));
        }
        if self.failures.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let state = self.state.lock();
        let cause = state.failure.as_ref()?;
        let reached = self.durable() >= end;
        Some(if reached {
            Ok(())
        } else {
            Err(self.poisoned(cause))
        })
    }
}
