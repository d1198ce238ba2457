//! What memory costs that nobody has used for a while.
//!
//! A virtual machine may have given it back to its host: where that was seen, a page of 4 KiB took 13 us
//! when it was first touched, and 0.3 to 1.5 us afterwards. Arms with a log need most of it, for the page
//! cache: after a build, which had used what was at hand, they were half as fast there. (To touch memory
//! before each arm was tried, and is no remedy: within seconds it was cold again.)

use std::hint::black_box;
use std::time::Instant;

use crate::environment::meminfo_bytes;
use crate::measure::exact;

const PAGE: usize = 4096;
/// So much is touched, if that is at most a quarter of what is left.
const PROBED: u64 = 512 << 20;
/// Microseconds; where a page costs more, figures depend on what the machine did before.
pub(crate) const SLOW: f64 = 3.0;

/// Microseconds for a page at its first touch; `None` where the system does not say how much memory is left.
pub(crate) fn first_touch() -> Option<f64> {
    let available = meminfo_bytes("MemAvailable")?;
    let bytes = usize::try_from(PROBED.min(available / 4)).ok()?;
    let mut pages: Vec<u8> = Vec::new();
    pages.try_reserve_exact(bytes).ok()?;
    let begun = Instant::now();
    pages.resize(bytes, 1);
    let micros = begun.elapsed().as_secs_f64() * 1e6;
    black_box(&pages);
    Some(micros / exact((bytes / PAGE).max(1) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn every_page_is_touched() {
        let micros = first_touch().unwrap();
        assert!(micros > 0.01, "a page cannot be had in {micros} us");
    }
}
