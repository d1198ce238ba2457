//! Space kept back for recovery (G7).
//!
//! A log that was killed on a full disk must open again, and opening may have to store
//! anew what was not known to be durable. So every log that takes records owns a file
//! `reserve` with the blocks of one segment. The first segment that a writer begins may
//! use it; until it is replaced, the log takes no records.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::os;

/// The reserve of one directory.
#[derive(Debug)]
pub(crate) struct Reserve(PathBuf);

impl Reserve {
    pub(crate) fn new(directory: &Path) -> Self {
        Reserve(directory.join("reserve"))
    }

    /// Makes sure that it is there and has at least this many bytes.
    pub(crate) fn refill(&self, bytes: u64) -> io::Result<()> {
        if fs::metadata(&self.0).is_ok_and(|found| found.len() >= bytes) {
            return Ok(());
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.0)?;
        let filled = os::allocate(&file, 0, bytes)
            .and_then(|()| file.set_len(bytes))
            .and_then(|()| file.sync_all());
        if filled.is_err() {
            fs::remove_file(&self.0)?;
        }
        filled
    }

    /// Gives it the name `path` if it has at least `bytes`; tells the file and how many it has.
    pub(crate) fn take(&self, path: &Path, bytes: u64) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().write(true).open(&self.0)?;
        let found = file.metadata()?.len();
        if found < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        fs::rename(&self.0, path)?;
        Ok((file, found))
    }
}
