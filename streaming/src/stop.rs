//! A token that asks a loop to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks [`Receiver::run`](crate::Receiver::run) or [`Driver::run`](crate::Driver::run)
/// to finish what is under way and return. Clones are the same token.
///
/// ```
/// use wal_streaming::Stop;
/// let stop = Stop::new();
/// let other = stop.clone();
/// other.stop();
/// assert!(stop.is_stopped());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A token that nobody has stopped yet.
    #[must_use]
    pub fn new() -> Self {
        Stop::default()
    }

    /// Asks for the end. Cannot be taken back.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
