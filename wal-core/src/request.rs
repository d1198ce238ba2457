//! What a caller asks of whoever drives the log, besides appends.

use std::sync::Arc;

use crate::sync::{Condvar, Mutex};
use crate::{Lsn, Result};

/// To be done when nothing is under way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) work: Work,
    pub(crate) reply: Arc<Reply>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Make the named holds durable.
    Holds,
    /// Give up every record from this LSN on.
    Truncate(Lsn),
}

/// Where the caller waits for the outcome.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    outcome: Mutex<Option<Result<()>>>,
    given: Condvar,
}

impl Reply {
    pub(crate) fn give(&self, outcome: Result<()>) {
        *self.outcome.lock() = Some(outcome);
        self.given.notify_all();
    }

    pub(crate) fn wait(&self) -> Result<()> {
        let mut outcome = self.outcome.lock();
        loop {
            match outcome.take() {
                Some(outcome) => return outcome,
                None => self.given.wait(&mut outcome),
            }
        }
    }
}
