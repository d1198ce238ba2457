//! Spreading frames over the time that one is under way.
//!
//! Where several writes may be in flight, the first append of a burst would leave alone, the
//! next few with little company, and the rest would find all places taken. So while any is in
//! flight, frames that are not full leave at even distances: one after each part of a write's
//! usual duration that there are places. An append that comes to an idle log leaves at once.

use std::time::{Duration, Instant};

/// When the next frame may leave.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How long a write takes, averaged over the last few.
    usual: Duration,
    last: Option<Instant>,
}

impl Pace {
    pub(super) fn begun(&mut self, now: Instant) {
        self.last = Some(now);
    }

    pub(super) fn finished(&mut self, took: Duration) {
        self.usual = match self.usual.is_zero() {
            true => took,
            false => (self.usual * 7 + took) / 8,
        };
    }

    /// From when on a frame may leave that others are ahead of.
    pub(super) fn next(&self, in_flight: u32) -> Option<Instant> {
        Some(self.last? + self.usual / in_flight.max(1))
    }
}
