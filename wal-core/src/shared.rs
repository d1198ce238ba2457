//! What a log's handles, its committer thread, its commits and its readers share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::bells::{Bells, Ring};
use crate::driver::Driver;
use crate::generation::Generation;
use crate::group::Queue;
use crate::location::Placed;
use crate::request::Request;
use crate::retention::Retention;
use crate::segments::Segments;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};
use crate::truncate::Truncations;
use crate::waiters::Waiters;
use crate::{Error, Identity, Lsn, Options, Result, Storage, StorageError};

mod known;
mod news;
mod queue;

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queue: Queue,
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
    /// Many callers wait for their own append: the committer thread drives for them.
    pub(crate) crowd: bool,
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
    /// The writer has begun no frame for a while.
    pub(crate) lags: bool,
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
    /// Whose bell rings for it; `None` if any frame may bring it about.
    pub(crate) group: Option<u32>,
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

    /// A child of `fork` has the files and the lock of its parent, who goes on writing, and no
    /// committer thread: nothing that is asked of the log there would ever be done.
    pub(crate) fn check_process(&self) -> Result<()> {
        match self.storage.process() == self.process {
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
}
