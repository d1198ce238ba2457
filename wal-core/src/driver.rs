//! The right to do I/O, and what is done with it.
//!
//! One thread at a time drives a log: its committer thread, or a caller whose
//! commit is alone (no thread hop then). Whoever drives decides the next step
//! under the lock, performs it without the lock, and publishes the outcome.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::MutexGuard;

use crate::block::block_on;
use crate::committer::{Committer, Write};
use crate::frame::Kind;
use crate::segment::SegmentHeader;
use crate::shared::{SegmentInfo, Shared, State};
use crate::storage::{IoFuture, Sync};
use crate::{Error, Lsn, SegmentId, StorageError};

/// How long appends that are only to be accepted wait for company, while nobody waits for them.
const LAZY: Duration = Duration::from_millis(1);
/// How much of them is written without waiting.
pub(crate) const LAZY_BYTES: u64 = 256 << 10;

/// How soon a mark that found no space is tried again.
const RETRY_FULL: Duration = Duration::from_secs(1);

/// What is to be done next.
enum Step {
    Write(Box<Write>),
    Sync,
    /// Make sure that records may be appended.
    Prepare,
    Delete(SegmentId),
    /// Writes are under way; nothing else can be done until one finishes or work comes.
    Await,
    /// Nothing to do before this moment (`None`: before work comes).
    Idle(Option<Instant>),
}

/// A write under way.
struct Flight {
    write: Started,
    future: IoFuture<()>,
}

/// What is needed of a write once it is stored.
#[derive(Clone, Copy)]
struct Started {
    id: u64,
    sync: Sync,
    begins: Option<SegmentHeader>,
    segment: SegmentId,
    end_offset: u64,
    stored_bytes: u64,
}

/// Drives one log.
pub(crate) struct Driver {
    committer: Committer,
    flights: Vec<Flight>,
    waker: Waker,
    /// When something was last written: the watermark waits from here.
    active: Option<Instant>,
    /// Where the last deletion failed; it is tried again once more can be deleted.
    undeletable: SegmentId,
    /// There was no space for a mark; not before this is one tried again.
    full_until: Option<Instant>,
    /// Whether the storage keeps room for a later recovery, so that records may be appended.
    ready: bool,
    closed: bool,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("committer", &self.committer)
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}

impl Driver {
    pub(crate) fn new(committer: Committer, shared: &Weak<Shared>) -> Self {
        Driver {
            committer,
            flights: Vec::new(),
            waker: Waker::from(Arc::new(FlightWaker(shared.clone()))),
            active: None,
            undeletable: SegmentId::default(),
            full_until: None,
            ready: false,
            closed: false,
        }
    }

    /// Drives until there is nothing to do, the log failed, or `until` is durable; then puts
    /// the driver back and returns with the lock still held, so that no work slips in between.
    pub(crate) fn run(
        mut self: Box<Self>,
        shared: &Shared,
        until: Option<Lsn>,
    ) -> (MutexGuard<'_, State>, Option<Instant>) {
        loop {
            let mut state = shared.state.lock();
            let reached = until.is_some_and(|until| shared.durable() >= until);
            if reached || state.failure.is_some() {
                state.closed |= state.closing && state.failure.is_some();
                state.driver = Some(self);
                return (state, None);
            }
            match self.next_step(shared, &mut state) {
                Step::Idle(deadline) => {
                    state.closed |= self.closed;
                    state.driver = Some(self);
                    return (state, deadline);
                }
                Step::Await => {
                    if !std::mem::take(&mut state.flight_woken) {
                        shared.work.wait(&mut state);
                    }
                    state.flight_woken = false;
                    drop(state);
                    self.poll_flights(shared);
                }
                Step::Write(write) => {
                    drop(state);
                    self.start(shared, *write);
                }
                Step::Sync => {
                    state.stats.syncs += 1;
                    drop(state);
                    match block_on(shared.storage.sync()) {
                        Ok(()) => {
                            self.committer.synced();
                            self.publish(shared, None);
                        }
                        Err(cause) => shared.poison(cause),
                    }
                }
                Step::Prepare => {
                    drop(state);
                    self.prepare(shared);
                }
                Step::Delete(before) => {
                    drop(state);
                    self.delete(shared, before);
                }
            }
        }
    }

    fn next_step(&mut self, shared: &Shared, state: &mut State) -> Step {
        self.committer.release(state.retention.floor());
        if let Some(before) = self.deletable(state, self.committer.released_durably()) {
            return Step::Delete(before);
        }
        if self.committer.has_room()
            && let Some(step) = self.next_write(shared, state)
        {
            return step;
        }
        if !self.committer.is_idle() {
            return Step::Await;
        }
        // Nothing is under way and nothing is queued that may be written yet.
        if state.queue.is_empty() {
            if state.sync_to.max(self.must_sync(state)) > self.committer.durable() {
                return Step::Sync;
            }
            // Deleting waits until the log itself says durably what was released: a head
            // that is missing without such a note is damage (G4).
            self.full_until = self.full_until.filter(|at| *at > Instant::now());
            let wanted = self.deletable(state, state.retention.floor());
            if wanted.is_some() && self.full_until.is_none() {
                let mark = self.committer.mark(Kind::Mark, Sync::Yes, now_micros());
                return Step::Write(Box::new(mark));
            }
            if state.closing {
                return self.close_step();
            }
        }
        let (queued, quiet) = (
            self.lingers_until(shared, state),
            self.quiet_at(shared, state),
        );
        Step::Idle(earliest(earliest(queued, quiet), self.full_until))
    }

    /// The next frame, if there is anything to be written now.
    fn next_write(&mut self, shared: &Shared, state: &mut State) -> Option<Step> {
        if let Some(seal) = self.committer.seal(now_micros()) {
            return Some(Step::Write(Box::new(seal)));
        }
        let now = Instant::now();
        if !state.queue.is_empty() && self.lingers_until(shared, state).is_none_or(|at| at <= now) {
            if !self.ready {
                return Some(Step::Prepare);
            }
            let group = shared.take_group(state);
            self.active = Some(now);
            // A barrier is met by syncing the frame that reaches it, not each on the way.
            let records: usize = group.iter().map(|append| append.lengths.len()).sum();
            let end = self.committer.next().plus(records as u64);
            let sync = state.sync_to > self.committer.durable() && end >= state.sync_to;
            let write = self.committer.records(group, sync, now_micros());
            return Some(Step::Write(Box::new(write)));
        }
        if self.quiet_at(shared, state).is_some_and(|at| at <= now) {
            self.active = None;
            let mark = self.committer.mark(Kind::Mark, Sync::No, now_micros());
            return Some(Step::Write(Box::new(mark)));
        }
        None
    }

    /// What must be made durable although no caller waits for it: everything, before closing.
    fn must_sync(&self, state: &State) -> Lsn {
        if state.closing {
            self.committer.written()
        } else {
            Lsn::ZERO
        }
    }

    /// Until when what is queued may wait for company; `None`: it may be written now.
    fn lingers_until(&self, shared: &Shared, state: &State) -> Option<Instant> {
        let (linger, bytes) = if state.durable_queued {
            (shared.options.linger, shared.options.frame_bytes)
        } else {
            (LAZY, LAZY_BYTES.min(shared.options.frame_bytes))
        };
        let hurry = state.hurry
            || state.closing
            || state.sync_to > self.committer.written()
            || state.queued_bytes >= bytes;
        if linger.is_zero() || hurry {
            return None;
        }
        Some(state.queued_since? + linger)
    }

    /// When a watermark is due: after a quiet delay, if the log knows more than it has noted.
    fn quiet_at(&self, shared: &Shared, state: &State) -> Option<Instant> {
        let due = self.committer.attested() < self.committer.durable() && state.queue.is_empty();
        let delay = shared.options.watermark_delay.filter(|_| due)?;
        Some(self.active? + delay)
    }

    /// The segment before which everything can be deleted once `released` is durable in the log.
    fn deletable(&self, state: &State, released: Lsn) -> Option<SegmentId> {
        let after = state
            .segments
            .partition_point(|segment| segment.header.first <= released);
        let oldest = state.segments.front()?.header.segment;
        let keep = state.segments.get(after.checked_sub(1)?)?.header.segment;
        (keep > oldest && keep > self.undeletable).then_some(keep)
    }

    /// Everything is durable: notes that the log was closed, if this writer wrote at all.
    fn close_step(&mut self) -> Step {
        if self.closed || !self.committer.has_written() {
            self.closed = true;
            return Step::Idle(None);
        }
        self.closed = true;
        Step::Write(Box::new(self.committer.mark(
            Kind::Close,
            Sync::Yes,
            now_micros(),
        )))
    }

    fn start(&mut self, shared: &Shared, mut write: Write) {
        let bytes = std::mem::take(&mut write.bytes);
        let started = Started {
            id: write.id,
            sync: write.sync,
            begins: write.begins,
            segment: write.at.segment,
            end_offset: write.end_offset,
            stored_bytes: write.stored_bytes,
        };
        let mut future = shared.storage.append(write.at, bytes, write.sync);
        match future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Err(cause @ StorageError::Full(_))) => self.full(shared, &write, cause),
            Poll::Ready(result) => self.finish(shared, started, result),
            Poll::Pending => self.flights.push(Flight {
                write: started,
                future,
            }),
        }
    }

    fn prepare(&mut self, shared: &Shared) {
        match block_on(shared.storage.prepare(shared.options.segment_bytes)) {
            Ok(()) => self.ready = true,
            Err(cause @ StorageError::Full(_)) => {
                let woken = {
                    let mut state = shared.state.lock();
                    shared.cancel(&mut state, self.committer.next(), Error::Full(cause))
                };
                woken.into_iter().for_each(Waker::wake);
            }
            Err(cause) => shared.poison(cause),
        }
    }

    /// No space, and nothing was stored of this write (G7): what is queued is cancelled, and
    /// the log goes on as if it had not been appended.
    fn full(&mut self, shared: &Shared, write: &Write, cause: StorageError) {
        if shared.storage.limits().in_flight > 1 {
            return shared.poison(cause); // others may have gone past it
        }
        self.committer.revert(write);
        let woken = {
            let mut state = shared.state.lock();
            if write.end == write.at.lsn {
                // Only a mark: it is tried again.
                self.full_until = Some(Instant::now() + RETRY_FULL);
                Vec::new()
            } else {
                shared.cancel(&mut state, write.at.lsn, Error::Full(cause))
            }
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn poll_flights(&mut self, shared: &Shared) {
        let mut done = Vec::new();
        let mut context = Context::from_waker(&self.waker);
        self.flights
            .retain_mut(|flight| match flight.future.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    done.push((flight.write, result));
                    false
                }
                Poll::Pending => true,
            });
        for (write, result) in done {
            self.finish(shared, write, result);
        }
    }

    fn finish(&mut self, shared: &Shared, write: Started, result: Result<(), StorageError>) {
        match result {
            Ok(()) => {
                self.committer.stored(write.id);
                self.publish(shared, Some(write));
            }
            Err(cause) => shared.poison(cause),
        }
    }

    fn publish(&mut self, shared: &Shared, write: Option<Started>) {
        let woken = {
            let mut state = shared.state.lock();
            if let Some(write) = write {
                note_stored(&mut state, write);
            }
            shared.advance(
                &mut state,
                self.committer.written(),
                self.committer.durable(),
            )
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn delete(&mut self, shared: &Shared, before: SegmentId) {
        // Readers must not find what is about to vanish.
        let forgotten = {
            let mut state = shared.state.lock();
            let after = state
                .segments
                .partition_point(|segment| segment.header.segment < before);
            state.segments.drain(..after).collect::<Vec<_>>()
        };
        if let Err(cause) = block_on(shared.storage.delete_before(before)) {
            let mut state = shared.state.lock();
            for segment in forgotten.into_iter().rev() {
                state.segments.push_front(segment);
            }
            state.retention_error = Some(cause);
            self.undeletable = before;
        }
    }
}

fn note_stored(state: &mut State, write: Started) {
    state.stats.frames += 1;
    state.stats.stored_bytes += write.stored_bytes;
    state.stats.syncs += u64::from(write.sync == Sync::Yes);
    if let Some(header) = write.begins {
        state.segments.push_back(SegmentInfo {
            header,
            end: write.end_offset,
        });
    }
    let found = state
        .segments
        .iter_mut()
        .rev()
        .find(|found| found.header.segment == write.segment);
    if let Some(segment) = found {
        segment.end = segment.end.max(write.end_offset);
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Microseconds since 1970; 0 if the clock stands before that.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Wakes whoever drives when a write under way has something to say.
struct FlightWaker(Weak<Shared>);

impl Wake for FlightWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.lock().flight_woken = true;
            shared.work.notify_all();
        }
    }
}

/// The committer thread: drives whenever nobody else does and there is something to do.
pub(crate) fn committer_thread(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        let Some(driver) = state.driver.take() else {
            // A caller drives; it puts the driver back and tells us if work is left.
            state.timed = false;
            shared.work.wait(&mut state);
            continue;
        };
        drop(state);
        let (guard, deadline) = driver.run(shared, None);
        state = guard;
        if state.closed || (state.failure.is_some() && state.closing) {
            let woken = shared.everyone(&mut state);
            drop(state);
            woken.into_iter().for_each(Waker::wake);
            return;
        }
        state.timed = deadline.is_some();
        match deadline {
            Some(deadline) => {
                shared.work.wait_until(&mut state, deadline);
            }
            None => shared.work.wait(&mut state),
        }
    }
}
