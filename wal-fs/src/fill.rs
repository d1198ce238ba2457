//! Filling a spare with zeros, so that others hardly notice.
//!
//! One sync of 64 MiB would keep the device busy while commits wait for it. So the file is
//! written and synced in pieces, with a rest after each that is as long as the piece took:
//! a commit meets at most one piece, and finds the device free half of the time.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::file_system::{OpenFile, write_full};

/// Written and synced at a time: about a millisecond on a fast disk.
const PIECE: u64 = 1 << 20;
/// A slow disk is not left to itself for longer.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// Where a segment's header stands.
const HEADER: u64 = 4096;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Fills the file with `bytes` zeros, durably; gives up when told to.
pub(crate) fn fill(file: &dyn OpenFile, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    let mut done = 0;
    while done < bytes {
        let begun = Instant::now();
        let end = bytes.min(done + PIECE);
        zero(file, done, end)?;
        file.sync_data()?;
        done = end;
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if done < bytes {
            std::thread::sleep(begun.elapsed().min(LONGEST_REST));
        }
    }
    Ok(())
}

/// Makes sure that the file is no segment. A crash can undo the rename that made it one, and
/// keep what was written then: a header and a frame that nobody was told of, and that would
/// count again if the file got the same name once more.
pub(crate) fn blank(file: &dyn OpenFile) -> io::Result<()> {
    zero(file, 0, HEADER)?;
    file.sync_data()
}

/// Writes zeros from `start` to `end`.
pub(crate) fn zero(file: &dyn OpenFile, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let mut parts = [IoSlice::new(&[]); 16];
        let mut next = at;
        for part in &mut parts {
            let length = usize::try_from(end - next).unwrap_or(usize::MAX);
            let zeros = ZEROS.get(..length).unwrap_or(&ZEROS);
            *part = IoSlice::new(zeros);
            next += zeros.len() as u64;
        }
        write_full(file, &mut parts, at)?;
        at = next;
    }
    Ok(())
}
