//! Holds with a name, which outlive the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::attachment::{Holds, MAX_HOLDS, MAX_NAME, footer_frame_bytes};
use crate::planted::planted;
use crate::request::{Reply, Request, Work};
use crate::{Error, Lsn, Result, Wal};

impl Wal {
    /// Keeps every record from `from` on until the hold of this name is set to a later LSN or
    /// removed; also after a restart: when this returns, the hold is durable. Setting it anew
    /// moves it. A log has up to 4,096 named holds, with names of 1 to 255 bytes.
    ///
    /// ```
    /// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
    /// # let disk = SimStorage::new(1);
    /// let (wal, _) = Wal::open(disk.clone(), Options::default())?;
    /// wal.commit(["a", "b", "c"])?;
    /// wal.set_hold("indexer", Lsn::new(1))?;
    /// disk.crash();
    /// let (wal, recovery) = Wal::open(disk, Options::default())?;
    /// assert_eq!(recovery.holds["indexer"], Lsn::new(1));
    /// wal.release(Lsn::new(3))?;
    /// assert_eq!(wal.oldest(), Lsn::new(1));
    /// # Ok::<(), wal_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`]; [`Error::Hold`]; [`Error::Full`], [`Error::Poisoned`],
    /// [`Error::Closed`]. After an error the hold stands where it stood, or (if the log is
    /// poisoned) at either place.
    pub fn set_hold(&self, name: &str, from: Lsn) -> Result<()> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Error::Hold("a name has 1 to 255 bytes"));
        }
        let _there = self.hold(from)?;
        self.change_holds(|holds| {
            holds.insert(name.to_owned(), from);
        })
    }

    /// Removes the hold of this name. Durable when it returns, also if there was none: one whose
    /// removal could not be stored before must not come back.
    ///
    /// # Errors
    /// As for [`Wal::set_hold`].
    pub fn remove_hold(&self, name: &str) -> Result<()> {
        if planted("removal-believed-unproven") && !self.named_holds().contains_key(name) {
            return Ok(());
        }
        self.change_holds(|holds| {
            holds.remove(name);
        })
    }

    /// The named holds, and the LSN from which on each keeps the records.
    #[must_use]
    pub fn named_holds(&self) -> BTreeMap<String, Lsn> {
        let state = self.handle.shared.state.lock();
        state.retention.named().clone()
    }

    fn change_holds(&self, change: impl Fn(&mut Holds)) -> Result<()> {
        let shared = &self.handle.shared;
        // Nothing is released on the word of a change that may fail yet.
        let _all = self.hold_all();
        shared.check_process()?;
        let reply = Arc::new(Reply::default());
        let _one_at_a_time = shared.changing_holds.lock();
        let before = {
            let mut state = shared.state.lock();
            shared.check_open(&state)?;
            let before = state.retention.named().clone();
            let mut holds = before.clone();
            change(&mut holds);
            let bytes = footer_frame_bytes(&holds, 0);
            if holds.len() > MAX_HOLDS || bytes > shared.options.segment_bytes / 8 {
                return Err(Error::Hold(
                    "there are too many named holds for segments of this size",
                ));
            }
            state.retention.set_named(holds);
            state.requests.push_back(Request {
                work: Work::Holds,
                reply: Arc::clone(&reply),
            });
            shared.work.notify_all();
            before
        };
        reply.wait().inspect_err(|_| {
            let mut state = shared.state.lock();
            state.retention.set_named(before);
        })
    }

    /// Gives up every record at or above `to`; the next append gets that LSN. For logs whose
    /// end may be replaced, as raft's. Appends that are queued or being written are given up
    /// as well, and commits that had not been waited for fail with [`Error::Truncated`]; so do
    /// readers that had read beyond. Durable when it returns: a later open ends at `to`.
    ///
    /// Not for use beside other threads that append: which of their appends survive is chance.
    ///
    /// ```
    /// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
    /// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
    /// wal.commit(["a", "b", "c"])?;
    /// wal.truncate(Lsn::new(1))?;
    /// assert_eq!(wal.commit("B")?, Lsn::new(1)..Lsn::new(2));
    /// # Ok::<(), wal_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Released`]; [`Error::Beyond`] if `to` is beyond the end; [`Error::Full`]: then
    /// what was durable is still in the log, but commits that were waiting and readers beyond
    /// `to` have been told of the truncation; [`Error::Poisoned`], [`Error::Closed`].
    pub fn truncate(&self, to: Lsn) -> Result<()> {
        let shared = &self.handle.shared;
        let _guard = self.hold(to)?;
        shared.check_process()?;
        let reply = Arc::new(Reply::default());
        {
            let mut state = shared.state.lock();
            shared.check_open(&state)?;
            if to == state.next {
                drop(state);
                return self.sync().map(|_| ());
            }
            state.requests.push_back(Request {
                work: Work::Truncate(to),
                reply: Arc::clone(&reply),
            });
            shared.work.notify_all();
        }
        reply.wait()
    }
}
