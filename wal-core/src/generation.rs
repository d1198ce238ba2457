//! Which appends were cancelled before a byte of them was written.
//!
//! LSNs are given out when an append is queued. When what is queued is cancelled (no space
//! left, or the caller rewinds), its LSNs are given out again, to other appends. So each
//! commit belongs to a *generation*: a stretch of appends between two cancellations. The
//! cut of its generation says where it ends.

use std::sync::OnceLock;

use crate::{Error, Lsn};

/// A stretch of appends.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    cut: OnceLock<(Lsn, Error)>,
}

impl Generation {
    /// Cancels everything of this generation from `from` on. Happens before any of these
    /// LSNs is given out again, under the lock; only the first call counts.
    pub(crate) fn cancel(&self, from: Lsn, why: Error) {
        let _ = self.cut.set((from, why));
    }

    /// Why the append that ends at `end` was cancelled, if it was.
    pub(crate) fn cancelled(&self, end: Lsn) -> Option<Error> {
        let (from, why) = self.cut.get()?;
        (end > *from).then(|| why.clone())
    }
}
