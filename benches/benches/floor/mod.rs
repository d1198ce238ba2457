//! A floor: what the disk can do at best with the same bytes and the same promise.
//!
//! One positioned write into blocks that were written with zeros before (so that no
//! metadata changes), and one `fdatasync`; in the same process, in the same run.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use crate::common::{Outcome, fresh_dir};

/// The raw device: a file of zero-written blocks, written front to back, again and again.
pub(crate) struct Floor {
    file: File,
    bytes: u64,
    at: u64,
    _dir: tempfile::TempDir,
}

impl Floor {
    /// A file of `bytes`, every block written and synced.
    pub(crate) fn new(bytes: u64) -> Outcome<Floor> {
        let dir = fresh_dir()?;
        let mut file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("floor"))?;
        let zeros = vec![0u8; 1 << 20];
        for _ in 0..bytes.div_ceil(1 << 20) {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Floor {
            file,
            bytes,
            at: 0,
            _dir: dir,
        })
    }

    /// One write at the next block, without a sync.
    pub(crate) fn write(&mut self, data: &[u8]) -> Outcome<()> {
        let length = (data.len() as u64).next_multiple_of(4096);
        if self.at + length > self.bytes {
            self.at = 0;
        }
        self.file.write_all_at(data, self.at)?;
        self.at += length;
        Ok(())
    }

    /// Makes every write durable.
    pub(crate) fn sync(&self) -> Outcome<()> {
        Ok(self.file.sync_data()?)
    }
}
