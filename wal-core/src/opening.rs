//! Opening a log without blocking the caller's runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::sync::{Builder, Mutex};
use crate::{Options, Recovery, Result, Storage, StorageError, Wal};

/// A log that is being opened, on a thread of its own; ready when it is open. Works on any
/// runtime. If it is dropped, the log is opened all the same, and closed again.
///
/// ```
/// # use wal_core::{Options, Wal, sim::SimStorage};
/// # async fn example() -> Result<(), wal_core::Error> {
/// let (wal, recovery) = Wal::open_async(SimStorage::new(1), Options::default()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a log is open when this is ready"]
pub struct Opening(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    outcome: Option<Result<(Wal, Recovery)>>,
    waker: Option<Waker>,
}

impl Wal {
    /// As [`Wal::open`], without blocking: recovery runs on a thread of its own.
    pub fn open_async(storage: impl Storage, options: Options) -> Opening {
        let slot = Arc::new(Mutex::new(Slot::default()));
        let for_thread = Arc::clone(&slot);
        let spawned = Builder::new()
            .name("wal-open".into())
            .spawn(move || finish(&for_thread, Wal::open(storage, options)));
        if let Err(cause) = spawned {
            let cause = StorageError::io("starting a thread to open the log", cause);
            finish(&slot, Err(cause.into()));
        }
        Opening(slot)
    }
}

fn finish(slot: &Mutex<Slot>, outcome: Result<(Wal, Recovery)>) {
    let waker = {
        let mut slot = slot.lock();
        slot.outcome = Some(outcome);
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Future for Opening {
    type Output = Result<(Wal, Recovery)>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock();
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
