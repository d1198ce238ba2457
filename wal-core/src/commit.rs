//! The handle of an append: when it is stored, and how a caller waits for that.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::block::{block_on, block_until};
use crate::generation::Generation;
use crate::location::Placed;
use crate::planted::planted;
use crate::shared::{Shared, Taken};
use crate::{Durability, Error, Location, Lsn, Result};

/// An append on its way. Dropping it cancels nothing.
///
/// Wait with [`Commit::wait`], or `.await` it on any runtime: polling never does I/O.
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// let first = wal.append("one")?;
/// let second = wal.append("two")?;
/// assert_eq!(second.wait()?, Lsn::new(1)..Lsn::new(2));
/// assert!(first.is_ready());
/// # Ok::<(), wal_core::Error>(())
/// ```
#[must_use = "an append is not durable before its commit is ready"]
#[derive(Debug)]
pub struct Commit {
    shared: Arc<Shared>,
    lsns: Range<Lsn>,
    durability: Durability,
    generation: Arc<Generation>,
    group: Option<u32>,
    truncated: Option<u64>,
    placed: Option<Arc<Placed>>,
    ticket: Option<u64>,
}

impl Commit {
    pub(crate) fn new(shared: Arc<Shared>, taken: Taken, durability: Durability) -> Self {
        Commit {
            shared,
            lsns: taken.lsns,
            durability,
            generation: taken.generation,
            group: taken.group,
            truncated: taken.truncated,
            placed: taken.placed,
            ticket: None,
        }
    }

    /// The LSNs of the append's records: assigned already, but a promise only once
    /// the commit is ready.
    #[must_use]
    pub fn lsns(&self) -> Range<Lsn> {
        self.lsns.clone()
    }

    /// Whether the append has reached the durability it asked for.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let end = self.lsns.end;
        let reached = self.shared.durable() >= end
            || (self.durability == Durability::Accepted && self.shared.state.lock().written >= end);
        // Looked at last: LSNs that were cancelled are reached by other appends later.
        reached && self.given_up().is_none()
    }

    fn given_up(&self) -> Option<Error> {
        let end = self.lsns.end;
        self.shared.given_up(&self.generation, self.truncated, end)
    }

    /// Blocks until the append has reached the durability it asked for.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a write or sync failed first: whether the append is
    /// stored is then unknown until the log is opened again. [`Error::Full`]: it is not stored.
    pub fn wait(self) -> Result<Range<Lsn>> {
        let Some(group) = self
            .group
            .filter(|_| self.durability == Durability::Durable)
        else {
            return block_on(self);
        };
        let (shared, end) = (&self.shared, self.lsns.end);
        let outcome = || {
            let outcome = shared.outcome(&self.generation, self.truncated, end);
            outcome.or_else(|| shared.check_process().err().map(Err))
        };
        shared.bells.sleep_until(group, outcome)?;
        Ok(self.lsns.clone())
    }

    /// As [`Commit::wait`], and tells where each record lies, if the append asked for it with
    /// [`Append::located`](crate::Append::located); else nothing.
    ///
    /// # Errors
    /// As for [`Commit::wait`].
    pub fn wait_located(&mut self) -> Result<Vec<Location>> {
        block_on(&mut *self)?;
        let placed = self.placed.as_ref().and_then(|placed| placed.get());
        Ok(placed.unwrap_or_default().to_vec())
    }

    /// As [`Commit::wait`], for at most `limit`. The commit can be waited for again.
    ///
    /// # Errors
    /// [`Error::Timeout`]; [`Error::Poisoned`] as for [`Commit::wait`].
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Range<Lsn>> {
        let deadline = Instant::now().checked_add(limit); // or for ever
        block_until(self, deadline).unwrap_or(Err(Error::Timeout(limit)))
    }
}

impl Future for Commit {
    type Output = Result<Range<Lsn>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let end = self.lsns.end;
        let reached = self.shared.durable() >= end;
        // Looked at after the LSN: a cancelled one is reached by another append later.
        if let Some(why) = self.given_up() {
            return Poll::Ready(Err(why));
        }
        if reached {
            return Poll::Ready(Ok(self.lsns.clone()));
        }
        let shared = Arc::clone(&self.shared);
        shared.check_process()?;
        let mut state = shared.state.lock();
        let truncated = self
            .truncated
            .and_then(|seen| state.truncations.since(seen))
            .filter(|to| end > *to)
            .map(|to| Error::Truncated { to });
        if let Some(why) = self.generation.cancelled(end).or(truncated) {
            return Poll::Ready(Err(why));
        }
        let reached = shared.durable() >= end
            || (self.durability == Durability::Accepted && state.written >= end)
            || (self.durability == Durability::Accepted
                && planted("accepted-before-it-is-written"));
        if reached {
            return Poll::Ready(Ok(self.lsns.clone()));
        }
        if let Some(cause) = &state.failure {
            return Poll::Ready(Err(shared.poisoned(cause)));
        }
        if state.closed && !planted("watcher-not-told-of-the-close") {
            return Poll::Ready(Err(Error::Closed)); // nobody appends what is waited for
        }
        let waiters = match self.durability {
            Durability::Durable => &mut state.until_durable,
            Durability::Accepted => &mut state.until_written,
        };
        self.ticket = Some(waiters.register(end, self.ticket, context.waker()));
        if self.durability == Durability::Accepted && !state.hurry {
            state.hurry = true;
            shared.work.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let mut state = self.shared.state.lock();
        match self.durability {
            Durability::Durable => state.until_durable.forget(self.lsns.end, ticket),
            Durability::Accepted => state.until_written.forget(self.lsns.end, ticket),
        }
    }
}
