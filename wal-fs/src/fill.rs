//! Filling a spare with zeros, so that others hardly notice.
//!
//! One sync of 64 MiB would keep the device busy while commits wait for it. So the file is
//! written and synced in pieces, with a rest after each that is as long as the piece took:
//! a commit meets at most one piece, and finds the device free half of the time. Where that is possible,
//! the zeros go past the page cache: nobody reads them, and memory would be filled with them.

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::file_system::{OpenFile, write_full};
use crate::through::{self, Buffer};

/// Written and synced at a time: about a millisecond on a fast disk.
const PIECE: usize = 1 << 20;
/// A slow disk is not left to itself for longer.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// Where a segment's header stands.
const HEADER: u64 = 4096;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Fills the file with `bytes` zeros, durably; gives up when told to. `through` is the file once more, for
/// writes past the page cache.
pub(crate) fn fill(
    file: &dyn OpenFile,
    mut through: Option<&dyn OpenFile>,
    bytes: u64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = Buffer::default();
    let piece = buffer.hold(&[const { Bytes::from_static(&ZEROS) }; PIECE / ZEROS.len()]);
    let mut done = 0;
    while done < bytes {
        let begun = Instant::now();
        let left = usize::try_from(bytes - done).unwrap_or(PIECE);
        let piece = piece.get(..left).unwrap_or(piece);
        write_durably(file, &mut through, piece, done)?;
        done += piece.len() as u64;
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if done < bytes {
            std::thread::sleep(begun.elapsed().min(LONGEST_REST));
        }
    }
    Ok(())
}

/// Past the page cache, or, where that is refused, by way of it from then on.
fn write_durably(
    file: &dyn OpenFile,
    through: &mut Option<&dyn OpenFile>,
    piece: &[u8],
    offset: u64,
) -> io::Result<()> {
    if let Some(past_the_cache) = *through {
        if through::write_blocks(past_the_cache, piece, offset)? {
            return Ok(());
        }
        *through = None;
    }
    write_full(file, &mut [IoSlice::new(piece)], offset)?;
    file.sync_data()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_system::{Access, FileSystem};
    use crate::os::Os;

    /// The last piece is no whole number of blocks, which nothing takes that goes past the page cache.
    #[test]
    fn every_byte_is_zero_whichever_way_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spare");
        let bytes = 2 * PIECE + 1000;
        for past_the_cache in [false, true] {
            std::fs::write(&path, vec![7; bytes]).unwrap();
            let file = Os.open(&path, Access::Write).unwrap();
            let through = Os.open(&path, Access::Through).ok();
            let through = through.as_deref().filter(|_| past_the_cache);
            fill(
                file.as_ref(),
                through,
                bytes as u64,
                &AtomicBool::new(false),
            )
            .unwrap();
            assert!(std::fs::read(&path).unwrap() == vec![0; bytes]);
        }
    }

    #[test]
    fn who_is_told_to_stop_stops_after_a_piece() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spare");
        let file = Os.open(&path, Access::Create).unwrap();
        let stopped = fill(file.as_ref(), None, 1 << 40, &AtomicBool::new(true));
        assert_eq!(stopped.unwrap_err().kind(), io::ErrorKind::Interrupted);
        assert_eq!(file.length().unwrap(), PIECE as u64);
    }
}
