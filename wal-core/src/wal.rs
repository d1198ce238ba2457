//! The handle of a log.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::bells::Bells;
use crate::block::block_on;
use crate::driver::{Driver, LAZY_BYTES, committer_thread};
use crate::group::Queue;
use crate::planted::planted_or;
use crate::recovery::{self, Recovery};
use crate::retention::Retention;
use crate::shared::{Shared, State, Taken};
use crate::sync::{AtomicU64, Builder, Condvar, Mutex};
use crate::truncate::Truncations;
use crate::waiters::Waiters;
use crate::{Append, Commit, Durability, Error, Lsn, Options, Result, Storage, StorageError};

mod handle;
mod looking;
mod turn;

pub(crate) use handle::Handle;
pub(crate) use turn::CROWD;
use turn::drive_or_join;

/// A write-ahead log, opened for writing. Cheap to clone; all clones are one log.
///
/// Dropping the last clone does what [`Wal::close`] does, but cannot report an error.
///
/// ```
/// use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// let (wal, recovery) = Wal::open(SimStorage::new(1), Options::default())?;
/// assert_eq!(recovery.end, Lsn::ZERO);
/// let commit = wal.append(["order 1", "order 2"])?; // atomic: both or neither
/// let lsns = commit.wait()?; // durable
/// let records: Vec<_> = wal.reader(lsns.start)?.collect::<Result<_, _>>()?;
/// assert_eq!(records[1].payload, "order 2");
/// wal.close()?;
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Wal {
    pub(crate) handle: Arc<Handle>,
}

impl Wal {
    /// Opens the log that lies in `storage`, for writing; an empty storage becomes a new log.
    ///
    /// Takes the writer's role (G6), finds the end of the log, and stores anew what an
    /// earlier writer may not have made durable (G5), before anything is shown.
    ///
    /// # Errors
    /// [`Error::Option`]; [`Error::Storage`] with [`StorageError::InUse`] if another writer
    /// has the log; [`Error::Lost`] if records that were durable are missing or damaged;
    /// [`Error::NewerFormat`].
    pub fn open(storage: impl Storage, options: Options) -> Result<(Wal, Recovery)> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let limits = storage.limits();
        options.validate(&limits)?;
        let writer = block_on(storage.acquire())?;
        let opened = recovery::recover(&storage, writer, &options);
        let opened = opened.inspect_err(|_| {
            // The role is given back; why the open failed matters more than whether that did.
            let _ = block_on(storage.resign());
        })?;
        let report = opened.report;
        let receipt = opened.committer.receipt();
        let shared = Arc::new_cyclic(|weak: &Weak<Shared>| Shared {
            process: storage.process(),
            storage,
            log: report.log,
            durable: AtomicU64::new(report.end.get()),
            state: Mutex::new(State {
                queue: Queue::default(),
                queued_bytes: 0,
                queued_since: None,
                next: report.end,
                generation: Arc::default(),
                written: report.end,
                sync_to: Lsn::ZERO,
                retention: Retention::new(report.oldest, &report.holds),
                segments: opened.segments,
                receipt,
                requests: VecDeque::new(),
                paused: false,
                truncations: Truncations::default(),
                group: 0,
                heir: None,
                crowd: false,
                reunion: None,
                failure: None,
                closing: false,
                closed: false,
                driver: Some(Box::new(Driver::new(opened.committer, weak))),
                flight_woken: false,
                timed: false,
                durable_queued: false,
                lags: false,
                hurry: false,
                awaiting: false,
                company: None,
                retention_error: None,
                until_written: Waiters::default(),
                until_durable: Waiters::default(),
                stats: opened.stats,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            turn: Condvar::new(),
            changing_holds: Mutex::new(()),
            bells: Bells::default(),
            failures: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            options,
        });
        let for_thread = Arc::clone(&shared);
        let thread = Builder::new()
            .name("wal-committer".into())
            .spawn(move || committer_thread(&for_thread))
            .map_err(|cause| StorageError::io("starting the committer thread", cause))?;
        let thread = Mutex::new(Some(thread));
        let handle = Arc::new(Handle { shared, thread });
        let wal = Wal { handle };
        if let Some(receipt) = &wal.handle.shared.options.receipt {
            wal.check(receipt)?;
        }
        Ok((wal, report))
    }

    /// What an open would find in `storage`. Changes nothing and needs no lock, so the log may
    /// be in use: then the answer is that of a moment.
    ///
    /// # Errors
    /// As for [`Wal::open`], apart from options and the writer's role.
    pub fn inspect(storage: impl Storage) -> Result<Recovery> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        recovery::inspect(&storage)
    }

    /// Appends records atomically. The commit tells when they are durable.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full and [`OnFull::Fail`](crate::OnFull::Fail) was chosen
    /// (otherwise the call waits); [`Error::TooLarge`], [`Error::Empty`], [`Error::Poisoned`],
    /// [`Error::Closed`]. After any error nothing was taken.
    pub fn append<'a>(&self, append: impl Into<Append<'a>>) -> Result<Commit> {
        self.append_with(append, Durability::Durable)
    }

    /// As [`Wal::append`], with the durability that the commit waits for.
    ///
    /// # Errors
    /// As for [`Wal::append`].
    pub fn append_with<'a>(
        &self,
        append: impl Into<Append<'a>>,
        durability: Durability,
    ) -> Result<Commit> {
        let shared = &self.handle.shared;
        let (taken, state) = shared.enqueue(append.into(), durability, false)?;
        // What is only to be accepted waits a moment for company, so the committer thread is
        // woken for the first of a group, and when the group is large; not for each.
        let first = state.queue.len() == 1;
        let large = state.queued_bytes >= LAZY_BYTES;
        if state.driver.is_some() && (durability == Durability::Durable || first || large) {
            shared.work.notify_one();
        }
        shared.tell_awaiting(&state);
        drop(state);
        Ok(Commit::new(Arc::clone(shared), taken, durability))
    }

    /// Appends records atomically and blocks until they are durable. When no other append is
    /// under way, the calling thread does the I/O itself: the fastest way for a lone writer.
    /// Of several callers, one does it for all who came while the one before was at it; of many, the
    /// committer thread does.
    ///
    /// # Errors
    /// As for [`Wal::append`]; [`Error::Poisoned`] also if the write or sync fails;
    /// [`Error::Full`].
    pub fn commit<'a>(&self, append: impl Into<Append<'a>>) -> Result<Range<Lsn>> {
        let shared = &self.handle.shared;
        let inline = shared.options.linger.is_zero() && shared.storage.limits().in_flight == 1;
        let (taken, state) = shared.enqueue(append.into(), Durability::Durable, inline)?;
        if inline {
            drive_or_join(shared, state, &taken);
        } else {
            if state.driver.is_some() {
                shared.work.notify_one();
            }
            shared.tell_awaiting(&state);
            drop(state);
        }
        Commit::new(Arc::clone(shared), taken, Durability::Durable).wait()
    }

    /// Blocks until everything that was appended before this call is durable; returns the
    /// durable LSN.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync(&self) -> Result<Lsn> {
        loop {
            match block_on(self.barrier()?) {
                Ok(_) => return Ok(self.durable()),
                // What is left of what was appended before is durable.
                Err(Error::Truncated { .. }) => return Ok(self.durable()),
                Err(Error::Rewound { .. }) => {} // what is left may still be on its way
                Err(error) => return Err(error),
            }
        }
    }

    /// Ready when everything that was appended before this call is durable.
    fn barrier(&self) -> Result<Commit> {
        let shared = &self.handle.shared;
        let mut state = shared.state.lock();
        let target = planted_or("barrier-ignores-the-queue", state.written, state.next);
        if shared.durable() < target {
            shared.check_process()?;
            shared.check_open(&state)?;
            state.sync_to = target;
            shared.work.notify_all();
        }
        let taken = Taken {
            lsns: target..target,
            generation: Arc::clone(&state.generation),
            group: None,
            truncated: Some(state.truncations.count()),
            placed: None,
        };
        drop(state);
        let shared = Arc::clone(shared);
        Ok(Commit::new(shared, taken, Durability::Durable))
    }

    /// Cancels appends that are still queued, and gives their LSNs out again: every append with
    /// a record at or above `to`, newest first, until one is met that is being written or is
    /// stored already. Returns the LSN that the next append gets. Commits of cancelled appends
    /// fail with [`Error::Rewound`].
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn rewind(&self, to: Lsn) -> Result<Lsn> {
        let shared = &self.handle.shared;
        let (end, wake) = {
            let mut state = shared.state.lock();
            shared.check_open(&state)?;
            let mut end = state.next;
            for append in state.queue.newest() {
                if end <= to {
                    break;
                }
                let records = planted_or("rewind-splits-an-append", 1, append.lengths.len());
                end = Lsn::new(end.get().saturating_sub(records as u64));
            }
            if end == state.next {
                return Ok(end);
            }
            (
                end,
                shared.cancel(&mut state, end, Error::Rewound { to: end }),
            )
        };
        shared.wake(wake);
        Ok(end)
    }

    /// Makes everything durable, notes that the log was closed, and gives up the writer's role.
    /// Other clones get [`Error::Closed`] from then on; readers can still read.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a write or sync failed, now or earlier.
    pub fn close(self) -> Result<()> {
        self.handle.close(None)
    }

    /// As [`Wal::close`], for at most `limit`. If the time is up the log goes on closing; it
    /// gives up the writer's role when it has, or with the process.
    ///
    /// # Errors
    /// [`Error::Timeout`]; as for [`Wal::close`].
    pub fn close_timeout(self, limit: Duration) -> Result<()> {
        self.handle.close(Some(limit))
    }
}
