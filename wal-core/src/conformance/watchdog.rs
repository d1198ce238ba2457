//! A check that never ends says nothing: after a while, the process does.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

/// Ends the process, with a message, unless it is dropped in time: after 10 minutes, or
/// `WAL_CHECK_SECONDS`.
///
/// ```
/// let _watchdog = wal_core::conformance::Watchdog::over("a short check");
/// ```
#[derive(Debug)]
pub struct Watchdog {
    _ended: Sender<()>,
}

impl Watchdog {
    /// Watches until it is dropped.
    #[must_use]
    pub fn over(what: &'static str) -> Watchdog {
        let asked = std::env::var("WAL_CHECK_SECONDS").ok();
        let asked = asked.and_then(|seconds| seconds.parse().ok());
        let limit = Duration::from_secs(asked.unwrap_or(600));
        let (ended, watched) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln`, which a test's harness keeps to itself.
                let mut out = std::io::stderr();
                let said = format!("panicked at {what}:\nit has not ended after {limit:?}");
                let _ = writeln!(out, "thread 'watchdog' {said}");
                std::process::exit(101);
            }
        });
        Watchdog { _ended: ended }
    }
}
