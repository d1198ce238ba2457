//! Following the end of the log.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;

use crate::block::block_until;
use crate::{Lsn, Reader, Record, Result};

/// Reads durable records in order and, at the end, waits for more.
///
/// Block with [`Tail::next_blocking`], or use it as a [`Stream`] on any runtime; polling the
/// stream reads from the storage on the polling thread. It ends when the log is closed and
/// everything was read, or fails when the log did.
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// let mut tail = wal.tail(Lsn::ZERO)?;
/// let reader = std::thread::spawn(move || tail.next_blocking());
/// wal.commit("a")?;
/// assert_eq!(reader.join().unwrap().unwrap()?.payload, "a");
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    /// The wait that is registered: for which LSN, and under which number.
    waiting: Option<(Lsn, u64)>,
}

impl Tail {
    pub(crate) fn new(reader: Reader) -> Self {
        Tail {
            reader,
            waiting: None,
        }
    }

    /// The LSN of the next record.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.reader.position()
    }

    /// Blocks until there is a next record; `None` once the log is closed and read to its end.
    pub fn next_blocking(&mut self) -> Option<Result<Record>> {
        self.next_until(None).flatten()
    }

    /// As [`Tail::next_blocking`], for at most `limit`; `None` also when nothing came.
    pub fn next_timeout(&mut self, limit: Duration) -> Option<Result<Record>> {
        self.next_until(Instant::now().checked_add(limit)).flatten()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<Option<Result<Record>>> {
        let next = std::future::poll_fn(|context| self.poll(context));
        block_until(next, deadline)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Record>>> {
        loop {
            if let Some(record) = self.reader.next() {
                return Poll::Ready(Some(record));
            }
            let awaited = self.reader.position().plus(1);
            let Some(shared) = self.reader.shared() else {
                return Poll::Ready(None); // a view has a tail of its own
            };
            let mut state = shared.state.lock();
            if shared.durable() >= awaited {
                continue; // it became durable after the reader had looked
            }
            if let Some(cause) = &state.failure {
                return Poll::Ready(Some(Err(shared.poisoned(cause))));
            }
            if state.closed {
                return Poll::Ready(None);
            }
            let ticket = self
                .waiting
                .filter(|(lsn, _)| *lsn == awaited)
                .map(|(_, ticket)| ticket);
            let ticket = state
                .until_durable
                .register(awaited, ticket, context.waker());
            drop(state);
            self.waiting = Some((awaited, ticket));
            return Poll::Pending;
        }
    }
}

impl Stream for Tail {
    type Item = Result<Record>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll(context)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        if let (Some((lsn, ticket)), Some(shared)) = (self.waiting, self.reader.shared()) {
            shared.state.lock().until_durable.forget(lsn, ticket);
        }
    }
}
