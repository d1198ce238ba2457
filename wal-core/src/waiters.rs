//! Who waits for which LSN.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::Lsn;
use crate::planted::planted_or;

/// Wakers in order of the LSN they wait for, so that an advance touches only those it wakes.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: BTreeMap<(Lsn, u64), Waker>,
    next_id: u64,
}

impl Waiters {
    /// Registers `waker` until `lsn` is reached. `ticket` is what an earlier call for the
    /// same wait returned; its waker is replaced.
    pub(crate) fn register(&mut self, lsn: Lsn, ticket: Option<u64>, waker: &Waker) -> u64 {
        let id = ticket.unwrap_or_else(|| {
            self.next_id += 1;
            self.next_id
        });
        self.waiting.insert((lsn, id), waker.clone());
        id
    }

    /// Forgets a wait that ended otherwise.
    pub(crate) fn forget(&mut self, lsn: Lsn, ticket: u64) {
        self.waiting.remove(&(lsn, ticket));
    }

    /// Takes every waker whose LSN is at or below `reached`.
    pub(crate) fn reached(&mut self, reached: Lsn) -> impl Iterator<Item = Waker> + use<> {
        let beyond = planted_or("waiter-at-the-end-not-woken", 0, 1);
        let later = self.waiting.split_off(&(reached.plus(beyond), 0));
        std::mem::replace(&mut self.waiting, later).into_values()
    }

    /// Takes every waker whose LSN is above `from`.
    pub(crate) fn beyond(&mut self, from: Lsn) -> impl Iterator<Item = Waker> + use<> {
        self.waiting.split_off(&(from.plus(1), 0)).into_values()
    }

    /// Takes all wakers: the log failed or closed.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }
}
