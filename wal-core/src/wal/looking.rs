//! What a log shows: how far it is, its records, and what holds them.

use std::sync::Arc;
use std::time::Duration;

use super::Wal;
use crate::planted::planted_or;
use crate::retention::Hold;
use crate::shared::{Stats, Taken};
use crate::{Commit, Durability, Error, Identity, Lsn, Reader, Receipt, Result, Tail};

impl Wal {
    /// End of the durable prefix: every record below it survives whatever the medium survives.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.handle.shared.durable()
    }

    /// Blocks until every record below `until` is durable, for at most `limit`; returns the
    /// durable LSN, which is below `until` if the time was up. Asks for no sync.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Closed`] if the log was closed before it came so far.
    pub fn wait_durable(&self, until: Lsn, limit: Duration) -> Result<Lsn> {
        match self.reached(until).wait_timeout(limit) {
            Ok(_) | Err(Error::Timeout(_)) => Ok(self.durable()),
            Err(error) => Err(error),
        }
    }

    /// Ready when every record below `until` is durable, whoever appends them. A way to watch
    /// the durable LSN: wait for `durable() + 1`, again and again. Asks for no sync. Ends with
    /// [`Error::Closed`] if the log was closed before it came so far.
    pub fn reached(&self, until: Lsn) -> Commit {
        // A generation of its own: it waits for the LSN, whoever gets it.
        let taken = Taken {
            lsns: until..until,
            generation: Arc::default(),
            group: planted_or("watcher-sleeps-on-one-bell", Some(0), None),
            truncated: None,
            placed: None,
        };
        Commit::new(Arc::clone(&self.handle.shared), taken, Durability::Durable)
    }

    /// Proof of how far the log is durable, for the caller to keep elsewhere (G4).
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        let shared = &self.handle.shared;
        let (lsn, chain) = shared.state.lock().receipt;
        Receipt {
            log: shared.log,
            lsn,
            chain,
        }
    }

    /// The oldest record that can be read.
    #[must_use]
    pub fn oldest(&self) -> Lsn {
        self.handle.shared.state.lock().retention.floor()
    }

    /// The LSN that the next append gets.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.handle.shared.state.lock().next
    }

    /// The first LSN of the newest segment that holds a durable record, or [`Wal::oldest`] if
    /// there is none. The newest segment is never deleted.
    #[must_use]
    pub fn newest_segment(&self) -> Lsn {
        let durable = self.durable();
        let state = self.handle.shared.state.lock();
        let floor = state.retention.floor();
        let mut firsts = state.segments.iter().rev().map(|known| known.first);
        firsts
            .find(|first| *first < durable)
            .unwrap_or(floor)
            .max(floor)
    }

    /// The log's identity: random, chosen when its first segment was written.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.handle.shared.log
    }

    /// Reads durable records in order, starting with `from`.
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`].
    pub fn reader(&self, from: Lsn) -> Result<Reader> {
        Ok(Reader::new(
            Arc::clone(&self.handle.shared),
            self.hold(from)?,
        ))
    }

    /// Reads durable records in order and waits for more at the end.
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`].
    pub fn tail(&self, from: Lsn) -> Result<Tail> {
        Ok(Tail::new(self.reader(from)?))
    }

    /// Keeps every record from `from` on until the hold is dropped.
    ///
    /// # Errors
    /// [`Error::Released`]; [`Error::Beyond`] if `from` is not appended yet and not the next one.
    pub fn hold(&self, from: Lsn) -> Result<Hold> {
        let shared = &self.handle.shared;
        let mut state = shared.state.lock();
        let (oldest, end) = (state.retention.floor(), state.next);
        if from < oldest {
            return Err(Error::Released {
                asked: from,
                oldest,
            });
        }
        if from > end {
            return Err(Error::Beyond { asked: from, end });
        }
        state.retention.hold(from);
        drop(state);
        Ok(Hold::adopt(Arc::clone(shared), from))
    }

    /// Keeps all that can be read now.
    pub(crate) fn hold_all(&self) -> Hold {
        let shared = &self.handle.shared;
        let mut state = shared.state.lock();
        let oldest = state.retention.floor();
        state.retention.hold(oldest);
        drop(state);
        Hold::adopt(Arc::clone(shared), oldest)
    }

    /// Gives up every record below `before`, as far as no hold or reader protects it. Whole
    /// segments are deleted in the background, after the log has noted durably that they
    /// were released; the newest segment always stays. Released records cannot be read any
    /// more, also where their segment is still there.
    ///
    /// # Errors
    /// [`Error::Beyond`] if `before` is not durable yet; [`Error::Storage`] if an earlier
    /// deletion in the background failed (it is tried again when more can be deleted);
    /// [`Error::Poisoned`], [`Error::Closed`].
    pub fn release(&self, before: Lsn) -> Result<()> {
        let shared = &self.handle.shared;
        let end = shared.durable();
        let mut state = shared.state.lock();
        shared.check_open(&state)?;
        if before > end {
            return Err(Error::Beyond { asked: before, end });
        }
        state.retention.release(before);
        shared.work.notify_all();
        state
            .retention_error
            .take()
            .map_or(Ok(()), |cause| Err(cause.into()))
    }

    /// Counters since the log was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.state.lock().stats
    }
}
