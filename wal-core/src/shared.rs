//! What a log's handles, its committer thread, its commits and its readers share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::committer::Queued;
use crate::driver::Driver;
use crate::generation::Generation;
use crate::options::{Durability, OnFull};
use crate::retention::Retention;
use crate::segment::SegmentHeader;
use crate::waiters::Waiters;
use crate::{Append, Error, Identity, Lsn, Options, Result, SegmentId, Storage, StorageError};

/// Bytes that an append's bookkeeping is counted as, besides its payload and lengths.
const APPEND_OVERHEAD: u64 = 64;

/// A segment that can be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentInfo {
    pub(crate) header: SegmentHeader,
    /// Where its last frame ends, as far as is known.
    pub(crate) end: u64,
}

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
    pub(crate) segments: VecDeque<SegmentInfo>,
    pub(crate) failure: Option<StorageError>,
    pub(crate) closing: bool,
    pub(crate) closed: bool,
    /// The right to do I/O: taken by whoever drives, put back when there is nothing to do.
    pub(crate) driver: Option<Box<Driver>>,
    /// A write under way has something to say.
    pub(crate) flight_woken: bool,
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
    pub(crate) state: Mutex<State>,
    /// Wakes the committer thread.
    pub(crate) work: Condvar,
    /// Wakes appends that wait for room in the queue.
    pub(crate) room: Condvar,
    /// A copy of the durable LSN, readable without the lock.
    pub(crate) durable: AtomicU64,
}

impl Shared {
    pub(crate) fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// Puts an append into the queue and tells which LSNs it got.
    pub(crate) fn enqueue(
        &self,
        append: Append,
        durability: Durability,
    ) -> Result<(std::ops::Range<Lsn>, MutexGuard<'_, State>)> {
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
        let first = state.next;
        state.next = first.plus(append.records());
        state.queued_bytes += bytes + APPEND_OVERHEAD;
        state.queued_since.get_or_insert_with(Instant::now);
        state.stats.appends += 1;
        state.stats.records += append.records();
        state.stats.payload_bytes += append.bytes();
        state.durable_queued |= durability == Durability::Durable;
        let (chunks, lengths) = append.into_parts();
        state.queue.push_back(Queued {
            chunks,
            lengths,
            durable: durability == Durability::Durable,
        });
        Ok((first..state.next, state))
    }

    fn wait_for_room(&self, bytes: u64) -> Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        loop {
            self.check_open(&state)?;
            let queued = state.queued_bytes;
            // An append that is alone always fits: `append_bytes <= queue_bytes`.
            if queued == 0 || queued + bytes <= self.options.queue_bytes {
                return Ok(state);
            }
            if self.options.on_full == OnFull::Fail {
                let limit = self.options.queue_bytes;
                return Err(Error::Busy { queued, limit });
            }
            self.room.wait(&mut state);
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

    /// Takes a queued group for one frame: as much as fits, at least one append.
    pub(crate) fn take_group(&self, state: &mut State) -> Vec<Queued> {
        let mut group = Vec::new();
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
        }
        self.room.notify_all();
        group
    }

    /// Cancels everything from `from` on, none of which has reached the storage: commits
    /// get `why`, and the LSNs are given out again. Returns who is to be woken.
    pub(crate) fn cancel(&self, state: &mut State, from: Lsn, why: Error) -> Vec<Waker> {
        let generation = std::mem::take(&mut state.generation);
        generation.cancel(from, why);
        state.queue.clear();
        (state.queued_bytes, state.queued_since) = (0, None);
        (state.hurry, state.durable_queued) = (false, false);
        state.next = from;
        state.sync_to = state.sync_to.min(from);
        self.room.notify_all();
        let mut woken: Vec<Waker> = state.until_written.beyond(from).collect();
        woken.extend(state.until_durable.beyond(from));
        woken
    }

    /// Publishes how far the log is; returns who is to be woken, outside the lock.
    pub(crate) fn advance(&self, state: &mut State, written: Lsn, durable: Lsn) -> Vec<Waker> {
        let mut woken = Vec::new();
        if written > state.written {
            state.written = written;
            woken.extend(state.until_written.reached(written));
        }
        if durable > self.durable() {
            self.durable.store(durable.get(), Ordering::Release);
            woken.extend(state.until_durable.reached(durable));
        }
        woken
    }

    /// G5: the handle is finished. Everyone who waits is told.
    pub(crate) fn poison(&self, cause: StorageError) {
        let woken = {
            let mut state = self.state.lock();
            state.failure.get_or_insert(cause);
            state.queue.clear();
            state.queued_bytes = 0;
            self.everyone(&mut state)
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Every waker, and both condition variables.
    pub(crate) fn everyone(&self, state: &mut State) -> Vec<Waker> {
        self.room.notify_all();
        self.work.notify_all();
        let mut woken: Vec<Waker> = state.until_written.all().collect();
        woken.extend(state.until_durable.all());
        woken
    }

    /// The segment that holds `lsn`, or the one that will.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<SegmentInfo> {
        let state = self.state.lock();
        let after = state
            .segments
            .partition_point(|segment| segment.header.first <= lsn);
        state.segments.get(after.checked_sub(1)?).copied()
    }

    /// What is known of a segment, and of the one after it.
    pub(crate) fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> (Option<SegmentInfo>, Option<SegmentInfo>) {
        let state = self.state.lock();
        let at = state
            .segments
            .partition_point(|segment| segment.header.segment < id);
        let here = state
            .segments
            .get(at)
            .filter(|found| found.header.segment == id);
        let after = state
            .segments
            .partition_point(|segment| segment.header.segment <= id);
        (here.copied(), state.segments.get(after).copied())
    }

    pub(crate) fn move_hold(&self, from: Lsn, to: Lsn) {
        let mut state = self.state.lock();
        state.retention.hold(to);
        state.retention.unhold(from);
        self.work.notify_one();
    }

    pub(crate) fn drop_hold(&self, from: Lsn) {
        self.state.lock().retention.unhold(from);
        self.work.notify_one();
    }
}

/// Bytes that an append adds to a frame: payload and table.
fn weight(append: &Queued) -> u64 {
    let payload: u64 = append.chunks.iter().map(|chunk| chunk.len() as u64).sum();
    payload + (append.lengths.len() * crate::frame::ENTRY_BYTES) as u64
}
