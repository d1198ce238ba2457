//! Memory that is ready: what a virtual machine has given back to its host, or never had, comes slowly when
//! it is first touched, and whichever arm ran next would pay for that.
//!
//! Seen on a virtual machine whose balloon reports free pages: 13 us for a page of 4 KiB that nobody
//! had used for some seconds, 0.3 to 1.5 us for others. After a build had filled the page cache, the arm
//! with a durable log was half as fast.

use std::hint::black_box;
use std::time::Instant;

use crate::environment::meminfo_bytes;
use crate::measure::exact;

/// What is touched, a page each.
const PAGE: usize = 4096;
/// So much more than the records an arm needs: itself, the spare segments of its log, the checkpoint.
const BESIDE: u64 = 256 << 20;
/// Microseconds; a page that costs more is not at hand.
pub(crate) const SLOW: f64 = 3.0;

/// Memory that the system has found; whoever asks next after it is dropped gets it.
pub(crate) struct Ready {
    /// What a page cost, in microseconds.
    pub(crate) page_micros: f64,
    _pages: Vec<u8>,
}

impl Ready {
    /// Enough for an arm that receives so many bytes, but at most a quarter of the memory that is left;
    /// `None` where the system does not say how much that is.
    pub(crate) fn for_arm(received: u64) -> Option<Ready> {
        let available = meminfo_bytes("MemAvailable")?;
        let wanted = received.saturating_mul(2).saturating_add(BESIDE);
        let bytes = usize::try_from(wanted.min(available / 4)).ok()?;
        let mut pages: Vec<u8> = Vec::new();
        pages.try_reserve_exact(bytes).ok()?;
        let begun = Instant::now();
        pages.resize(bytes, 1);
        let micros = begun.elapsed().as_secs_f64() * 1e6;
        Some(Ready {
            page_micros: micros / exact((bytes / PAGE).max(1) as u64),
            _pages: black_box(pages),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn every_page_is_touched() {
        let micros = Ready::for_arm(0).unwrap().page_micros;
        assert!(micros > 0.01, "a page cannot be had in {micros} us");
    }
}
