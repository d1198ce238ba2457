//! Says that a source between a receiver and a driver gets nothing more.

use std::fmt;

/// Ends a source that a receiver fills: see [`WalSource::finisher`](crate::WalSource::finisher)
/// and [`MemorySource::finisher`](crate::MemorySource::finisher).
///
/// ```
/// let (_store, source) = wal_streaming::memory_channel(1 << 20);
/// source.finisher().finish();
/// ```
pub struct Finisher(Box<dyn FnOnce() + Send>);

impl Finisher {
    pub(crate) fn new(finish: impl FnOnce() + Send + 'static) -> Self {
        Finisher(Box::new(finish))
    }

    /// Nothing more will be stored: the source is exhausted once everything in it was planned.
    pub fn finish(self) {
        (self.0)();
    }
}

impl fmt::Debug for Finisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Finisher")
    }
}
