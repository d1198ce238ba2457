//! What a log's handles, its committer thread, its commits and its readers share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::bells::{Bells, Ring};
use crate::committer::Queued;
use crate::driver::Driver;
use crate::generation::Generation;
use crate::layout;
use crate::location::Placed;
use crate::options::{Durability, OnFull};
use crate::planted::{planted, planted_or};
use crate::request::Request;
use crate::retention::Retention;
use crate::segments::{Known, SegmentInfo, Segments};
use crate::sync::{AtomicU64, Condvar, Mutex, MutexGuard, Ordering};
use crate::truncate::Truncations;
use crate::waiters::Waiters;
use crate::{Append, Error, Identity, Lsn, Options, Result, SegmentId, Storage, StorageError};

/// Bytes that an append's bookkeeping is counted as, besides its payload and lengths.
const APPEND_OVERHEAD: u64 = 64;

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) queued_bytes: u64,
    /// When the oldest queued append came: linger counts from here.
    pub(crate) queued_since: Option<Instant>,
    /// LSN that the next append gets.
    pub(crate) next: Lsn,
    /// The one that the next append belongs to.
    pub(crate) generation: Arc<Generation>,
    pub(crate) written: Lsn,
    /// A caller wants everything below this durable at once.
    pub(crate) sync_to: Lsn,
    pub(crate) retention: Retention,
    pub(crate) segments: Segments,
    /// The durable LSN, and the chain value there.
    pub(crate) receipt: (Lsn, u64),
    /// What else is to be done.
    pub(crate) requests: VecDeque<Request>,
    /// No append is taken for the moment.
    pub(crate) paused: bool,
    pub(crate) truncations: Truncations,
    /// Number of the group that the next append joins: all that is queued at one time.
    pub(crate) group: u32,
    /// A caller of `commit` waits for its turn to drive, until this LSN is durable.
    pub(crate) heir: Option<Lsn>,
    /// The next frame waits until the log ends here, or until this moment.
    pub(crate) reunion: Option<(Lsn, Instant)>,
    pub(crate) failure: Option<StorageError>,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
    /// The right to do I/O: taken by whoever drives, put back when there is nothing to do.
    pub(crate) driver: Option<Box<Driver>>,
    /// A write under way has something to say.
    pub(crate) flight_woken: bool,
    /// Whoever drives sleeps until one has, and could begin another.
    pub(crate) awaiting: bool,
    /// The same, until an append reaches this LSN.
    pub(crate) company: Option<Lsn>,
    /// The committer thread sleeps with a deadline, and so will look by itself.
    pub(crate) timed: bool,
    /// A durable append is queued.
    pub(crate) durable_queued: bool,
    /// Somebody waits for an accepted append to be written.
    pub(crate) hurry: bool,
    /// A deletion in the background failed; the next `release` tells.
    pub(crate) retention_error: Option<StorageError>,
    pub(crate) until_written: Waiters,
    pub(crate) until_durable: Waiters,
    pub(crate) stats: Stats,
}

/// Counters since the log was opened.
///
/// ```
/// # use wal_core::{Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// wal.commit(["a", "b"])?;
/// let stats = wal.stats();
/// assert_eq!((stats.appends, stats.records, stats.payload_bytes), (1, 2, 2));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Appends taken.
    pub appends: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records.
    pub payload_bytes: u64,
    /// Frames written, those without records included.
    pub frames: u64,
    /// Times that the storage was asked to make something durable.
    pub syncs: u64,
    /// Bytes given to the storage: payload, tables, headers, padding.
    pub stored_bytes: u64,
}

/// The shared part of a log.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) log: Identity,
    /// The process that opened the log.
    pub(crate) process: u32,
    pub(crate) state: Mutex<State>,
    /// Wakes the committer thread.
    pub(crate) work: Condvar,
    /// Held while the named holds are changed: a change that fails restores what was before.
    pub(crate) changing_holds: Mutex<()>,
    /// Wakes appends that wait for room in the queue.
    pub(crate) room: Condvar,
    /// Wakes the heir.
    pub(crate) turn: Condvar,
    /// Wakes callers that are blocked until their append is durable.
    pub(crate) bells: Bells,
    /// A copy of the durable LSN, readable without the lock.
    pub(crate) durable: AtomicU64,
    /// How often the log failed: 0 or more, readable without the lock.
    pub(crate) failures: AtomicU64,
    /// How often the log was truncated, readable without the lock.
    pub(crate) truncated: AtomicU64,
}

/// An append that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) lsns: std::ops::Range<Lsn>,
    pub(crate) generation: Arc<Generation>,
    pub(crate) group: u32,
    /// How often the log had been truncated; `None` if that does not matter.
    pub(crate) truncated: Option<u64>,
    pub(crate) placed: Option<Arc<Placed>>,
}

/// Who is to be woken once the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Wake {
    wakers: Vec<Waker>,
    ring: Ring,
}

impl Wake {
    pub(crate) fn new(wakers: Vec<Waker>, ring: Ring) -> Self {
        Wake { wakers, ring }
    }

    pub(crate) fn add(&mut self, more: Wake) {
        self.wakers.extend(more.wakers);
        self.ring.merge(more.ring);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.ring.is_empty()
    }
}

impl Shared {
    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// Puts an append into the queue and tells which LSNs it got. A caller that drives is asked
    /// then whether it is a fork, others are asked here.
    pub(crate) fn enqueue(
        &self,
        append: Append,
        durability: Durability,
        drives: bool,
    ) -> Result<(Taken, MutexGuard<'_, State>)> {
        if append.is_empty() {
            return Err(Error::Empty);
        }
        let bytes = append.bytes() + append.records() * crate::frame::ENTRY_BYTES as u64;
        if append.oversized() || bytes > self.options.append_bytes {
            return Err(Error::TooLarge {
                bytes,
                limit: self.options.append_bytes,
            });
        }
        let mut state = self.wait_for_room(bytes + APPEND_OVERHEAD)?;
        if !drives && state.queue.is_empty() {
            self.check_process()?; // once for each group: it is a system call
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
        let (chunks, lengths) = append.into_parts();
        state.queue.push_back(Queued {
            chunks,
            lengths,
            durable: durability == Durability::Durable,
            placed: placed.clone(),
        });
        let taken = Taken {
            lsns: first..state.next,
            generation: Arc::clone(&state.generation),
            group: state.group,
            truncated: Some(state.truncations.count()),
            placed,
        };
        Ok((taken, state))
    }

    fn wait_for_room(&self, bytes: u64) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        loop {
            self.check_open(&state)?;
            let queued = state.queued_bytes;
            // An append that is alone always fits: `append_bytes <= queue_bytes`.
            let fits = queued == 0
                || queued + bytes <= self.options.queue_bytes
                || planted("queue-without-a-bound");
            if fits && !state.paused {
                return Ok(state);
            }
            if self.options.on_full == OnFull::Fail {
                let limit = self.options.queue_bytes;
                return Err(Error::Busy { queued, limit });
            }
            self.check_process()?;
            self.room.wait(&mut state);
        }
    }

    /// A child of `fork` has the files and the lock of its parent, who goes on writing, and no
    /// committer thread: nothing that is asked of the log there would ever be done.
    pub(crate) fn check_process(&self) -> Result<()> {
        match std::process::id() == self.process {
            true => Ok(()),
            false => Err(Error::Storage(StorageError::InUse(format!(
                "the log was opened by process {}, of which this one is a fork; open it anew",
                self.process
            )))),
        }
    }

    /// Whether the log still takes work.
    pub(crate) fn check_open(&self, state: &State) -> Result<()> {
        if let Some(cause) = &state.failure {
            return Err(self.poisoned(cause));
        }
        if state.closing {
            return Err(Error::Closed);
        }
        Ok(())
    }

    pub(crate) fn poisoned(&self, cause: &StorageError) -> Error {
        Error::Poisoned {
            durable: self.durable(),
            cause: cause.clone(),
        }
    }

    /// Takes a queued group for one frame: as much as fits, at least one append. Tells its number,
    /// too; what did not fit keeps it.
    pub(crate) fn take_group(&self, state: &mut State) -> (u32, Vec<Queued>) {
        let number = state.group;
        let mut group = Vec::with_capacity(state.queue.len());
        let mut bytes = 0;
        while let Some(append) = state.queue.front() {
            let more = weight(append);
            if !group.is_empty() && bytes + more > self.options.frame_bytes {
                break;
            }
            bytes += more;
            state.queued_bytes = state.queued_bytes.saturating_sub(more + APPEND_OVERHEAD);
            group.extend(state.queue.pop_front());
        }
        if state.queue.is_empty() {
            state.queued_since = None;
            state.hurry = false;
            state.durable_queued = false;
            state.group = number.wrapping_add(1);
        }
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
            && let Some(append) = state.queue.pop_back()
        {
            state.next = Lsn::new(state.next.get() - append.lengths.len() as u64);
            state.queued_bytes = state
                .queued_bytes
                .saturating_sub(weight(&append) + APPEND_OVERHEAD);
        }
        state.next = from;
        if state.queue.is_empty() {
            (state.queued_bytes, state.queued_since) = (0, None);
            state.hurry = false;
        }
        state.durable_queued = state.queue.iter().any(|append| append.durable);
        state.sync_to = state.sync_to.min(from);
        self.room.notify_all();
        self.turn.notify_all();
        let mut wakers: Vec<Waker> = state.until_written.beyond(from).collect();
        wakers.extend(state.until_durable.beyond(from));
        Wake::new(wakers, Ring::both())
    }

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
            state.queue.clear();
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

    /// The segment that holds `lsn`, or the one that will.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Result<Option<SegmentInfo>> {
        let known = {
            let state = self.state.lock();
            let known = state.segments.of(lsn);
            if let Some(info) = known.and_then(Known::info) {
                return Ok(Some(info));
            }
            known.cloned()
        };
        known.map(|known| self.info(&known)).transpose()
    }

    /// What is known of a segment, and of the one after it.
    pub(crate) fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> Result<(Option<SegmentInfo>, Option<SegmentInfo>)> {
        let (here, after) = {
            let state = self.state.lock();
            let (here, after) = (state.segments.get(id), state.segments.after(id));
            let was_read = |known: &Known| known.info.is_some();
            if here.is_none_or(was_read) && after.is_none_or(was_read) {
                return Ok((here.and_then(Known::info), after.and_then(Known::info)));
            }
            (here.cloned(), after.cloned())
        };
        let here = here.map(|known| self.info(&known)).transpose()?;
        let after = after.map(|known| self.info(&known)).transpose()?;
        Ok((here, after))
    }

    /// The segment's header; read now if it has not been, and checked against its neighbours.
    pub(crate) fn info(&self, known: &Known) -> Result<SegmentInfo> {
        if let Some(info) = &known.info {
            return Ok(**info);
        }
        let info = layout::load(&self.storage, known, self.log)?;
        let mut state = self.state.lock();
        let segments = &mut state.segments;
        let before = segments.before(known.id).map(|before| before.id);
        if before.is_some_and(|before| before != info.header.previous) {
            return Err(layout::lost_before(&info.header, "the segment is missing"));
        }
        if let Some(known) = segments.get_mut(known.id) {
            known.info.get_or_insert_with(|| Box::new(info));
        }
        Ok(info)
    }

    pub(crate) fn move_hold(&self, from: Lsn, to: Lsn) {
        let mut state = self.state.lock();
        state.retention.hold(to);
        self.unhold(&mut state, from);
    }

    pub(crate) fn drop_hold(&self, from: Lsn) {
        self.unhold(&mut self.state.lock(), from);
    }

    /// Wakes the committer thread only if that lets something go: a reader moves its hold with
    /// every frame, and would wake it each time for nothing.
    fn unhold(&self, state: &mut State, from: Lsn) {
        let floor = state.retention.floor();
        state.retention.unhold(from);
        if state.retention.floor() > floor {
            self.work.notify_one();
        }
    }
}

/// Bytes that an append adds to a frame: payload and table.
fn weight(append: &Queued) -> u64 {
    let payload: u64 = append.chunks.iter().map(|chunk| chunk.len() as u64).sum();
    payload + (append.lengths.len() * crate::frame::ENTRY_BYTES) as u64
}
