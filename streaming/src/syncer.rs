//! Makes accepted appends durable a little later.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wal_core::Wal;

use crate::{Error, Result};

/// How long an accepted append may stay without a sync.
const EVERY: Duration = Duration::from_millis(50);

/// A thread that syncs the log while something in it is not durable. Dropping it
/// syncs once more.
#[derive(Debug)]
pub(crate) struct Syncer {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(wal: Wal) -> Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::Builder::new()
            .name("receiver-sync".to_owned())
            .spawn({
                let ended = Arc::clone(&ended);
                move || run(&wal, &ended)
            })
            .map_err(|cause| Error::Source {
                source_name: "receiver".to_owned(),
                reason: format!("cannot start its sync thread: {cause}"),
            })?;
        Ok(Syncer {
            ended,
            thread: Some(thread),
        })
    }
}

fn run(wal: &Wal, (ended, changed): &(Mutex<bool>, Condvar)) {
    let mut end = false;
    while !end {
        {
            let mut ended = ended.lock();
            if !*ended {
                changed.wait_for(&mut ended, EVERY);
            }
            end = *ended;
        }
        if wal.durable() < wal.end()
            && let Err(error) = wal.sync()
        {
            // The log is poisoned: the next append says so to whoever makes it.
            tracing::warn!(%error, "the background sync of accepted blocks failed");
            return;
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
