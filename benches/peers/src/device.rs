//! What reached the block device below a directory, and what a sample is to find: nothing left to be
//! written, and memory that is ready.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{major, minor};

use crate::memory::kib;

/// Bytes of a sector in the kernel's counters, whatever the device.
const SECTOR: u64 = 512;

/// Waits until nothing is left to be written, so that no sample pays for another.
pub(crate) fn settle(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(dir)?)?)
}

/// Has the system find memory, and gives it back: whoever asks next gets it. A virtual machine may have
/// to ask its host for what was not used for some seconds, which took 13 us a page where it was seen.
/// At most a quarter of what is left is asked for.
pub(crate) fn make_memory_ready(bytes: u64) {
    let left = kib("/proc/meminfo", "MemAvailable:").unwrap_or(0) << 10;
    let bytes = usize::try_from(bytes.min(left / 4)).unwrap_or(0);
    let mut pages: Vec<u8> = Vec::new();
    if pages.try_reserve_exact(bytes).is_ok() {
        pages.resize(bytes, 1);
        std::hint::black_box(&mut pages);
    }
}

/// Bytes written to the device so far, by everybody; settles first. `None` where the file system
/// has no block device of its own.
pub(crate) fn written(dir: &Path) -> Result<Option<u64>> {
    settle(dir)?;
    let device = std::fs::metadata(dir)?.dev();
    let stat = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let Ok(stat) = std::fs::read_to_string(stat) else {
        return Ok(None);
    };
    Ok(sectors_written(&stat).map(|sectors| sectors * SECTOR))
}

/// The seventh field.
fn sectors_written(stat: &str) -> Option<u64> {
    stat.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_written_are_the_seventh_field() {
        assert_eq!(sectors_written("  1 2 3 4 5 6 7 8 9\n"), Some(7));
        assert_eq!(sectors_written(""), None);
    }
}
