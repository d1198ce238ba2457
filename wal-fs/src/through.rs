//! Frames that go past the page cache, and are durable when the write returns.
//!
//! `O_DIRECT|O_DSYNC` into blocks that were written before is the quickest way to a durable frame: no
//! page has to be made ready, found again and written back, and devices that can write through their
//! cache (FUA) are spared a flush. A write and a sync reach 0.95 of it with 4 KiB,
//! 0.83 with 256 KiB (the run in docs/SPEED.md). The price is that readers find the bytes on the device instead of in memory. So a
//! segment that anybody has read while it is written goes through the page cache from then on.

use std::io::{self, IoSlice};

use bytes::Bytes;

use crate::file_system::{OpenFile, write_full};

/// Memory, offset and length of a write past the cache are multiples of this.
const ALIGN: usize = 4096;
/// Longer frames are not copied once more; they go through the page cache.
const LONGEST: usize = 1 << 20;

/// Where a frame is put together, at an address that devices take.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// Whether a frame of so many bytes fits.
    pub(crate) fn takes(bytes: u64) -> bool {
        bytes <= LONGEST as u64
    }

    /// The frame as whole blocks, the last one filled up with zeros.
    pub(crate) fn hold(&mut self, frame: &[Bytes]) -> &[u8] {
        let bytes: usize = frame.iter().map(Bytes::len).sum();
        let blocks = bytes.next_multiple_of(ALIGN);
        self.0.clear();
        self.0.reserve(blocks + ALIGN); // never moves below
        let start = self.0.as_ptr().align_offset(ALIGN);
        self.0.resize(start, 0);
        frame.iter().for_each(|part| self.0.extend_from_slice(part));
        self.0.resize(start + blocks, 0);
        self.0.get(start..).unwrap_or_default()
    }
}

/// Writes the frame durably. `false`: this file system does not take such writes, and the caller
/// writes it in another way.
pub(crate) fn write(
    file: &dyn OpenFile,
    buffer: &mut Buffer,
    offset: u64,
    frame: &[Bytes],
) -> io::Result<bool> {
    write_blocks(file, buffer.hold(frame), offset)
}

/// The same for whole blocks that are aligned.
pub(crate) fn write_blocks(file: &dyn OpenFile, blocks: &[u8], offset: u64) -> io::Result<bool> {
    match write_full(file, &mut [IoSlice::new(blocks)], offset) {
        // Said before anything is written, or of what is left after a short write: writing the whole
        // frame once more, at the same place, is right in both cases.
        Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => Ok(false),
        written => written.map(|()| true),
    }
}
