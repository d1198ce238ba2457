//! Space kept back for recovery (G7).
//!
//! A log that was killed on a full disk must open again, and opening may have to store
//! anew what was not known to be durable. So every log that takes records owns a file
//! `reserve` with the blocks of one segment. The first segment that a writer begins may
//! use it; until it is replaced, the log takes no records.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wal_core::planted::planted;

use crate::file_system::{Access, FileSystem, Kind, OpenFile};
use crate::fill::blank;

/// The name of the reserve.
pub(crate) const NAME: &str = "reserve";

/// The reserve of one directory.
#[derive(Debug)]
pub(crate) struct Reserve {
    system: Arc<dyn FileSystem>,
    path: PathBuf,
}

impl Reserve {
    pub(crate) fn new(system: &Arc<dyn FileSystem>, directory: &Path) -> Self {
        Reserve {
            system: Arc::clone(system),
            path: directory.join(NAME),
        }
    }

    /// Makes sure that it is there and has at least this many bytes.
    pub(crate) fn refill(&self, bytes: u64) -> io::Result<()> {
        if planted("no-space-kept-for-recovery") {
            return Ok(());
        }
        let found = self.system.stat(&self.path);
        if found.is_ok_and(|(kind, found)| kind == Kind::File && found >= bytes) {
            return Ok(());
        }
        let file = self.system.open(&self.path, Access::Replace)?;
        let filled = file
            .allocate(0, bytes)
            .and_then(|()| file.set_length(bytes))
            .and_then(|()| file.sync_data());
        if filled.is_err() {
            self.system.remove(&self.path)?;
        }
        filled
    }

    /// Gives it the name `path` if it has at least `bytes`; tells the file and how many it has.
    pub(crate) fn take(&self, path: &Path, bytes: u64) -> io::Result<(Arc<dyn OpenFile>, u64)> {
        let file = self.system.open(&self.path, Access::Write)?;
        let found = file.length()?;
        if found < bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        blank(file.as_ref())?;
        self.system.rename(&self.path, path)?;
        Ok((file, found))
    }
}
