//! The right to do I/O, and what is done with it.
//!
//! One thread at a time drives a log: its committer thread, or a caller whose
//! commit is alone (no thread hop then). Whoever drives decides the next step
//! under the lock, performs it without the lock, and publishes the outcome.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bells::Ring;
use crate::block::block_on;
use crate::committer::{Begun, Committer, Write};
use crate::frame::Kind;
use crate::planted::{planted, planted_or};
use crate::request::Request;
use crate::segments::{Known, SegmentInfo};
use crate::shared::{Shared, State, Wake};
use crate::storage::{IoFuture, Sync};
use crate::sync::MutexGuard;
use crate::{Error, Lsn, SegmentId, StorageError};

mod deletion;
mod pace;
mod perform;

use deletion::Deletion;
use pace::Pace;

/// How long appends that are only to be accepted wait for company, while nobody waits for them.
const LAZY: Duration = Duration::from_millis(1);
/// How much of them is written without waiting.
pub(crate) const LAZY_BYTES: u64 = 256 << 10;

/// So much made durable by one barrier is attested at once.
const MARK_BYTES: u64 = 4 << 20;

/// How long a release waits to be noted by a frame that comes anyway, before a mark notes it.
const RELEASE_WAIT: Duration = Duration::from_millis(1);

/// How soon a mark that found no space is tried again.
const RETRY_FULL: Duration = Duration::from_secs(1);

/// What is to be done next.
enum Step {
    Write(Box<Write>),
    Sync,
    /// Make sure that records may be appended.
    Prepare,
    Delete(SegmentId),
    Request(Request),
    /// Something is under way; nothing else can be done until that finishes, work comes, or
    /// this moment.
    Await(Option<Instant>),
    /// Nothing to do before this moment (`None`: before work comes).
    Idle(Option<Instant>),
}

/// A write under way.
struct Flight {
    write: Option<Started>,
    future: IoFuture<()>,
}

/// What is needed of a write once it is stored.
struct Started {
    id: u64,
    at: Instant,
    sync: Sync,
    kind: Kind,
    begins: Option<Begun>,
    segment: SegmentId,
    end_offset: u64,
    stored_bytes: u64,
}

/// Drives one log.
pub(crate) struct Driver {
    committer: Committer,
    flights: Vec<Flight>,
    /// Writes that are stored, while an earlier one is not.
    early: Vec<Started>,
    /// A deletion under way.
    deletion: Option<Deletion>,
    pace: Pace,
    waker: Waker,
    /// When something was last written: the watermark waits from here.
    active: Option<Instant>,
    /// Bytes stored since the last frame that was synced.
    unsynced_bytes: u64,
    /// A barrier has just made much durable: the watermark does not wait.
    mark_now: bool,
    /// Where the last deletion failed; it is tried again once more can be deleted.
    undeletable: SegmentId,
    /// There was no space for a mark; not before this is one tried again.
    full_until: Option<Instant>,
    /// Whether the storage keeps room for a later recovery, so that records may be appended.
    ready: bool,
    closed: bool,
    /// Groups under way, and where each ends.
    groups: VecDeque<(u32, Lsn)>,
    /// Who is to be woken.
    due: Wake,
}

/// How a drive ended.
pub(crate) struct Driven<'a> {
    /// Still held, so that no work slips in between.
    pub(crate) state: MutexGuard<'a, State>,
    /// When something is to be done without being asked.
    pub(crate) deadline: Option<Instant>,
    /// To be woken once the lock is free.
    pub(crate) due: Wake,
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
            early: Vec::new(),
            deletion: None,
            pace: Pace::default(),
            waker: Waker::from(Arc::new(FlightWaker(shared.clone()))),
            active: None,
            unsynced_bytes: 0,
            mark_now: false,
            undeletable: SegmentId::default(),
            full_until: None,
            ready: false,
            closed: false,
            groups: VecDeque::new(),
            due: Wake::default(),
        }
    }

    /// Drives until there is nothing to do, the log failed, or `until` is durable; then puts
    /// the driver back and returns with the lock still held, so that no work slips in between.
    /// Whoever drives for nobody in particular makes way for a caller that waits for its turn.
    pub(crate) fn run(mut self: Box<Self>, shared: &Shared, until: Option<Lsn>) -> Driven<'_> {
        if let Err(Error::Storage(forked)) = shared.check_process() {
            shared.poison(forked);
        }
        loop {
            let mut state = shared.state.lock();
            let reached = match until {
                Some(until) => shared.durable() >= until,
                None => state.heir.is_some() && !state.closing && self.flights.is_empty(),
            };
            if reached || state.failure.is_some() {
                state.closed |= state.closing && state.failure.is_some();
                return self.put_back(state, None);
            }
            if !self.due.is_empty() {
                drop(state);
                shared.wake(std::mem::take(&mut self.due));
                continue;
            }
            // Writes that are done at once never wait for news; a deletion has some all the same.
            if self.deletion.is_some() && std::mem::take(&mut state.flight_woken) {
                drop(state);
                self.poll_flights(shared);
                self.poll_deletion(shared);
                continue;
            }
            match self.next_step(shared, &mut state) {
                Step::Idle(deadline) => {
                    state.closed |= self.closed;
                    return self.put_back(state, deadline);
                }
                Step::Await(until) => {
                    self.wait(shared, &mut state, until);
                    drop(state);
                    self.poll_flights(shared);
                    self.poll_deletion(shared);
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
                            self.all_synced();
                            self.publish(shared);
                        }
                        Err(_) if planted("failed-sync-tried-again") => {}
                        Err(cause) => shared.poison(cause),
                    }
                }
                Step::Request(request) => {
                    drop(state);
                    let outcome = self.perform(shared, request.work);
                    request.reply.give(outcome);
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

    fn put_back(
        mut self: Box<Self>,
        mut state: MutexGuard<'_, State>,
        deadline: Option<Instant>,
    ) -> Driven<'_> {
        let due = std::mem::take(&mut self.due);
        state.driver = Some(self);
        Driven {
            state,
            deadline,
            due,
        }
    }

    /// Whether something is under way.
    fn is_busy(&self) -> bool {
        !self.flights.is_empty() || self.deletion.is_some()
    }

    /// Sleeps until something under way has news, or there is work, or `until`.
    fn wait(&self, shared: &Shared, state: &mut MutexGuard<'_, State>, until: Option<Instant>) {
        if std::mem::take(&mut state.flight_woken) {
            return;
        }
        state.awaiting = self.committer.has_room();
        state.company = self.pace.company();
        match until {
            Some(until) => {
                shared.work.wait_until(state, until);
            }
            None => shared.work.wait(state),
        }
        (state.awaiting, state.flight_woken) = (false, false);
    }

    fn next_step(&mut self, shared: &Shared, state: &mut State) -> Step {
        self.keep_cap(shared, state);
        self.committer.release(state.retention.floor());
        let released = self.committer.released_durably();
        let released = planted_or(
            "deleted-before-the-release-is-noted",
            state.retention.floor(),
            released,
        );
        // A segment is sealed before it is deleted: a seal must not bring it back.
        if !self.committer.is_unsealed()
            && let Some(before) = self.deletable(state, released)
        {
            return Step::Delete(before);
        }
        if !state.requests.is_empty() {
            if self.is_busy() {
                return Step::Await(None);
            }
            if let Some(request) = state.requests.pop_front() {
                return Step::Request(request);
            }
        }
        if self.committer.has_room()
            && let Some(step) = self.next_write(shared, state)
        {
            return step;
        }
        if !self.flights.is_empty() {
            let paced = self.lingers_until(shared, state);
            return Step::Await(paced.filter(|_| self.committer.has_room()));
        }
        // Nothing is under way and nothing is queued that may be written yet.
        let mut release_at = None;
        if state.queue.is_empty() {
            if state.sync_to.max(self.must_sync(state)) > self.committer.durable() {
                return Step::Sync;
            }
            // Deleting waits until the log itself says durably what was released: a head
            // that is missing without such a note is damage (G4).
            self.full_until = self.full_until.filter(|at| *at > Instant::now());
            let wanted = self.deletable(state, state.retention.floor());
            let noted_by = self.active.filter(|_| wanted.is_some() && !state.closing);
            release_at = noted_by.map(|active| active + RELEASE_WAIT);
            release_at = release_at.filter(|at| *at > Instant::now());
            if wanted.is_some() && self.full_until.is_none() && release_at.is_none() {
                let mark = self.committer.mark(Kind::Mark, Sync::Yes, now_micros());
                return Step::Write(Box::new(mark));
            }
            if state.closing && self.deletion.is_some() {
                return Step::Await(None);
            }
            if state.closing {
                return self.close_step();
            }
        }
        let (queued, quiet) = (
            self.lingers_until(shared, state),
            self.quiet_at(shared, state),
        );
        if queued.is_some() && shared.storage.limits().in_flight > 1 {
            return Step::Await(queued); // without being woken by each who comes
        }
        let marks = earliest(quiet, earliest(release_at, self.full_until));
        Step::Idle(earliest(queued, marks))
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
            let (number, group) = shared.take_group(state);
            self.active = Some(now);
            self.pace.begun(now);
            // A barrier is met by syncing the frame that reaches it, not each on the way.
            let records: usize = group.iter().map(|append| append.lengths.len()).sum();
            let end = self.committer.next().plus(records as u64);
            self.groups.push_back((number, end));
            let sync = state.sync_to > self.committer.durable() && end >= state.sync_to;
            let write = self.committer.records(group, sync, now_micros());
            return Some(Step::Write(Box::new(write)));
        }
        if self.quiet_at(shared, state).is_some_and(|at| at <= now) {
            (self.active, self.mark_now) = (None, false);
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
        if hurry {
            return None;
        }
        let company = state.queued_since.map(|since| since + linger);
        let company = company.filter(|_| !linger.is_zero());
        let places = shared.storage.limits().in_flight;
        let under_way = !self.flights.is_empty();
        let paced = places > 1 && !state.queue.is_empty();
        let pace = paced.then(|| self.pace.next(state.next, places, under_way));
        company.max(pace.flatten())
    }

    /// When a watermark is due: after a quiet delay, if the log knows more than it has noted.
    fn quiet_at(&self, shared: &Shared, state: &State) -> Option<Instant> {
        let due = self.committer.attested() < self.committer.durable() && state.queue.is_empty();
        let delay = shared.options.watermark_delay.filter(|_| due)?;
        let active = self.active?;
        Some(if self.mark_now {
            active
        } else {
            active + delay
        })
    }

    /// All that was stored is durable. If that is much, a mark follows at once: were the process
    /// killed before one is written, the next open would have to store all of it anew.
    fn all_synced(&mut self) {
        self.mark_now |= std::mem::take(&mut self.unsynced_bytes) > MARK_BYTES;
    }

    /// G8: releases what lies beyond the cap, if there is one.
    fn keep_cap(&self, shared: &Shared, state: &mut State) {
        let Some(cap) = shared.options.retain_bytes else {
            return;
        };
        let keep = usize::try_from(cap / shared.options.segment_bytes).unwrap_or(usize::MAX);
        let excess = state.segments.len().saturating_sub(keep.max(2));
        if excess > 0
            && let Some(first) = state.segments.iter().nth(excess).map(|known| known.first)
        {
            state.retention.release(first.min(shared.durable()));
        }
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
        let mut future = shared.storage.append(write.at, bytes, write.sync);
        match future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Err(cause @ StorageError::Full(_))) if !planted("full-is-a-failure") => {
                self.full(shared, &write, cause);
            }
            Poll::Ready(result) => self.finish(shared, Started::new(write), result),
            Poll::Pending => self.flights.push(Flight {
                write: Some(Started::new(write)),
                future,
            }),
        }
    }

    fn prepare(&mut self, shared: &Shared) {
        match block_on(shared.storage.prepare(shared.options.segment_bytes)) {
            Ok(()) => self.ready = true,
            Err(cause @ StorageError::Full(_)) => {
                let wake = {
                    let mut state = shared.state.lock();
                    shared.cancel(&mut state, self.committer.next(), Error::Full(cause))
                };
                shared.wake(wake);
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
        if !planted("full-keeps-its-position") {
            self.committer.revert(write);
        }
        match write.kind {
            Kind::Records => {
                self.groups.pop_back();
                let wake = {
                    let mut state = shared.state.lock();
                    shared.cancel(&mut state, write.at.lsn, Error::Full(cause))
                };
                shared.wake(wake);
            }
            // Its space was set aside when the segment was begun; where that means nothing, or an
            // earlier writer left the segment, the log goes on without.
            Kind::Seal => {
                self.committer.skip_seal();
                self.publish(shared);
            }
            // Only a mark: it is tried again.
            _ => self.full_until = Some(Instant::now() + RETRY_FULL),
        }
    }

    fn poll_flights(&mut self, shared: &Shared) {
        let mut done = Vec::new();
        let mut context = Context::from_waker(&self.waker);
        self.flights
            .retain_mut(|flight| match flight.future.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    done.push((flight.write.take(), result));
                    false
                }
                Poll::Pending => true,
            });
        for (write, result) in done {
            if let Some(write) = write {
                self.finish(shared, write, result);
            }
        }
    }

    fn finish(&mut self, shared: &Shared, write: Started, result: Result<(), StorageError>) {
        match result {
            Ok(()) => {
                self.committer.stored(write.id);
                self.pace.finished(write.at.elapsed());
                self.unsynced_bytes += write.stored_bytes;
                // The first frame of a segment is synced in any log, and attested by the next.
                if write.sync == Sync::Yes && write.begins.is_none() {
                    self.all_synced();
                }
                self.early.push(write);
                self.publish(shared);
            }
            Err(_) if planted("failed-write-ignored") => self.committer.stored(write.id),
            Err(cause) => shared.poison(cause),
        }
    }

    /// What is stored without a hole before it, in the order in which it was begun.
    fn in_order(&mut self) -> Vec<Started> {
        let before = self.committer.stored_before();
        let due = |write: &mut Started| write.id < before;
        let mut stored: Vec<Started> = self.early.extract_if(.., due).collect();
        stored.sort_by_key(|write| write.id);
        stored
    }

    /// Tells how far the log is. Who waited for it is woken by whoever drives, when it has left
    /// the lock: a caller that has reached its own LSN hands over first.
    fn publish(&mut self, shared: &Shared) {
        let stored = self.in_order();
        let wakers = {
            let mut state = shared.state.lock();
            for write in stored {
                note_stored(&mut state, write);
            }
            let (receipt, before) = (self.committer.receipt(), shared.durable());
            let acknowledged = receipt.0.get().saturating_sub(before.get());
            if acknowledged > 0 {
                let company = state.next.plus(acknowledged);
                self.pace.woke(Instant::now(), company);
            }
            shared.advance(&mut state, self.committer.written(), receipt)
        };
        let mut ring = Ring::default();
        while let Some((group, end)) = self.groups.front()
            && *end <= self.committer.durable()
        {
            ring.add(*group);
            self.groups.pop_front();
        }
        self.due.add(Wake::new(wakers, ring));
    }
}

impl Started {
    fn new(write: Write) -> Self {
        Started {
            id: write.id,
            at: Instant::now(),
            sync: write.sync,
            kind: write.kind,
            begins: write.begins,
            segment: write.at.segment,
            end_offset: write.end_offset,
            stored_bytes: write.stored_bytes,
        }
    }
}

fn note_stored(state: &mut State, write: Started) {
    state.stats.frames += 1;
    state.stats.stored_bytes += write.stored_bytes;
    state.stats.syncs += u64::from(write.sync == Sync::Yes);
    if let Some(Begun { header, index }) = write.begins {
        let end = write.end_offset;
        let mut known = Known::read(SegmentInfo { header, end });
        known.index = Some(index);
        state.segments.push(known);
    }
    let found = state.segments.get_mut(write.segment);
    // A seal ends no segment: the log goes on from the place before it.
    if write.kind != Kind::Seal
        && let Some(info) = found.and_then(|known| known.info.as_mut())
    {
        info.end = info.end.max(write.end_offset);
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

impl std::task::Wake for FlightWaker {
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
        let driver = match state.driver.take() {
            // A caller waits for its turn; it tells us if work is left.
            Some(driver) if state.heir.is_some() && !state.closing => {
                state.driver = Some(driver);
                shared.turn.notify_all();
                None
            }
            driver => driver,
        };
        let Some(driver) = driver else {
            state.timed = false;
            shared.work.wait(&mut state);
            continue;
        };
        drop(state);
        let driven = driver.run(shared, None);
        state = driven.state;
        if state.closed || (state.failure.is_some() && state.closing) {
            let woken = shared.everyone(&mut state);
            drop(state);
            shared.wake(driven.due);
            shared.wake(woken);
            return;
        }
        if !driven.due.is_empty() {
            drop(state);
            shared.wake(driven.due);
            state = shared.state.lock();
            continue; // work may have come meanwhile
        }
        if state.heir.is_some() && !state.closing {
            continue;
        }
        state.timed = driven.deadline.is_some();
        match driven.deadline {
            Some(deadline) => {
                shared.work.wait_until(&mut state, deadline);
            }
            None => shared.work.wait(&mut state),
        }
    }
}
