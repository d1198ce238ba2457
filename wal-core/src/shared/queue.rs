//! The queue of appends: what comes in, what is taken for a frame, what is cancelled.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{Shared, State, Taken, Wake};
use crate::bells::Ring;
use crate::group::Group;
use crate::options::{Durability, OnFull};
use crate::planted::planted;
use crate::sync::MutexGuard;
use crate::{Append, Error, Lsn, Result};

/// Bytes that an append's bookkeeping is counted as, besides its payload and lengths.
const APPEND_OVERHEAD: u64 = 64;

/// So many bytes in the queue are enough to keep a writer busy that writes one frame at a time.
const AHEAD: u64 = 2 << 20;
/// For so long an append waits for such a writer to begin the next frame.
const STRIDE: Duration = Duration::from_millis(4);

impl Shared {
    /// Puts an append into the queue and tells which LSNs it got. A caller that drives is asked
    /// before it takes a lock whether it is a fork: a child may find every lock held.
    pub(crate) fn enqueue(
        &self,
        append: Append<'_>,
        durability: Durability,
        drives: bool,
    ) -> Result<(Taken, MutexGuard<'_, State>)> {
        if append.is_empty() {
            return Err(Error::Empty);
        }
        if drives {
            self.check_process()?;
        }
        let bytes = append.bytes() + append.records() * crate::frame::ENTRY_BYTES as u64;
        if append.oversized() || bytes > self.options.append_bytes {
            return Err(Error::TooLarge {
                bytes,
                limit: self.options.append_bytes,
            });
        }
        let mut state = self.wait_for_room(bytes + APPEND_OVERHEAD, durability)?;
        if !drives && state.queue.is_empty() {
            self.check_process()?; // once for each group: it may be a system call
        }
        let first = state.next;
        state.next = first.plus(append.records());
        state.queued_bytes += bytes + APPEND_OVERHEAD;
        state.queued_since.get_or_insert_with(Instant::now);
        state.stats.appends += 1;
        state.stats.records += append.records();
        state.stats.payload_bytes += append.bytes();
        state.durable_queued |= durability == Durability::Durable;
        let placed = append.is_located().then(Arc::default);
        let durable = durability == Durability::Durable;
        state.queue.push(append, durable, placed.clone());
        let taken = Taken {
            lsns: first..state.next,
            generation: Arc::clone(&state.generation),
            group: Some(state.group),
            truncated: Some(state.truncations.count()),
            placed,
        };
        Ok((taken, state))
    }

    fn wait_for_room(&self, bytes: u64, durability: Durability) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        loop {
            self.check_open(&state)?;
            let queued = state.queued_bytes;
            // An append that is alone always fits: `append_bytes <= queue_bytes`.
            let fits = queued == 0
                || queued + bytes <= self.options.queue_bytes
                || planted("queue-without-a-bound");
            if fits && !state.paused {
                if durability == Durability::Durable || !self.runs_ahead(&state) {
                    return Ok(state);
                }
                let until = Instant::now() + STRIDE;
                state.lags = self.room.wait_until(&mut state, until).timed_out();
                continue;
            }
            if self.options.on_full == OnFull::Fail {
                let limit = self.options.queue_bytes;
                return Err(Error::Busy { queued, limit });
            }
            self.check_process()?;
            self.room.wait(&mut state);
        }
    }

    /// Whether what is queued keeps the writer busy for long, and would be cold in the processor's cache
    /// when its turn comes, as would the memory that the caller fills meanwhile: measured in docs/SPEED.md. A
    /// writer that has begun no frame for a while is not waited for: that is what the queue is for.
    fn runs_ahead(&self, state: &State) -> bool {
        !state.lags
            && state.queued_bytes >= AHEAD.max(2 * self.options.frame_bytes)
            && self.options.on_full == OnFull::Wait
            && self.storage.limits().in_flight == 1
    }

    /// Takes a queued group for one frame: as much as fits, at least one append. Tells its number,
    /// too; what did not fit keeps it.
    pub(crate) fn take_group(&self, state: &mut State) -> (u32, Group) {
        let number = state.group;
        let group = state.queue.take(self.options.frame_bytes);
        let taken = group.weight() + APPEND_OVERHEAD * group.len() as u64;
        state.queued_bytes = state.queued_bytes.saturating_sub(taken);
        if state.queue.is_empty() {
            state.queued_since = None;
            state.hurry = false;
            state.durable_queued = false;
            state.group = number.wrapping_add(1);
        }
        state.lags = false;
        self.room.notify_all();
        (number, group)
    }

    /// After an append: wakes whoever sleeps until a write under way has news, if that changes
    /// when the next one leaves.
    pub(crate) fn tell_awaiting(&self, state: &State) {
        let full = state.queued_bytes >= self.options.frame_bytes;
        let complete = state.company.is_some_and(|end| state.next >= end);
        if state.awaiting && (state.queue.len() == 1 || full || complete) {
            self.work.notify_one();
        }
    }

    /// Cancels everything from `from` on, none of which has reached the storage: commits
    /// get `why`, and the LSNs are given out again. Tells who is to be woken.
    pub(crate) fn cancel(&self, state: &mut State, from: Lsn, why: Error) -> Wake {
        let generation = std::mem::take(&mut state.generation);
        generation.cancel(from, why);
        while state.next > from
            && let Some(append) = state.queue.pop()
        {
            state.next = Lsn::new(state.next.get() - append.lengths.len() as u64);
            state.queued_bytes = state
                .queued_bytes
                .saturating_sub(append.weight() + APPEND_OVERHEAD);
        }
        state.next = from;
        if state.queue.is_empty() {
            (state.queued_bytes, state.queued_since) = (0, None);
            state.hurry = false;
        }
        state.durable_queued = state.queue.newest().any(|append| append.durable);
        state.sync_to = state.sync_to.min(from);
        self.room.notify_all();
        self.turn.notify_all();
        let mut wakers: Vec<Waker> = state.until_written.beyond(from).collect();
        wakers.extend(state.until_durable.beyond(from));
        Wake::new(wakers, Ring::both())
    }
}
