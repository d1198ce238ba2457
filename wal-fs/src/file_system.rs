//! The seam: every call to the file system that a log makes.
//!
//! [`os`](crate::os) makes them for real; [`sim`](crate::sim) plays a disk that loses power.
//! Nothing else in this crate touches a file, so what holds over the simulation holds
//! for every call there is. Names are handed over whole, and no call follows a symbolic
//! link at the last part of one.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use wal_core::planted::planted;

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

impl Kind {
    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::File => "a file",
            Kind::Directory => "a directory",
            Kind::Symlink => "a symbolic link",
            Kind::Other => "a pipe, socket or device",
        }
    }
}

/// A name as listing its directory shows it, without a look at the file itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a OsStr,
    pub(crate) kind: Kind,
    /// Equal for two names of one file; `None` where listing does not tell.
    pub(crate) file: Option<u64>,
}

/// What a file is opened for. Anything but a plain file is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    /// Reading and writing a file that exists.
    Write,
    /// Writing a file that does not exist yet.
    CreateNew,
    /// Reading and writing; created if it does not exist.
    Create,
    /// Writing an empty file; what was there is gone.
    Replace,
    /// Writing a file that exists, past the page cache: a write is durable when it returns, if
    /// memory, offset and length are multiples of 4 KiB. Refused where there is no such thing.
    Through,
}

/// The calls on names, and the start of background work.
pub(crate) trait FileSystem: fmt::Debug + Send + Sync {
    /// One directory, whose parent exists.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Shows every name in a directory.
    fn list(&self, path: &Path, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// What a name stands for, and its length if that is a file.
    fn stat(&self, path: &Path) -> io::Result<(Kind, u64)>;
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn OpenFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Runs `work` beside the caller, on a thread of this name. `None`: there is no thread to be had,
    /// and it was not begun.
    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> Option<JoinHandle<()>>;
}

/// The calls on an open file. Dropping it closes it, and gives up its lock.
pub(crate) trait OpenFile: fmt::Debug + Send + Sync {
    /// Appends what lies at `offset`, as far as `buffer` has room for it (more than it is asked
    /// to hold is never allocated). May read less, and 0 bytes only at the end.
    fn read_onto(&self, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize>;
    /// May write less than given.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;
    /// Has the system begin to bring what was written there to the medium, without waiting for it.
    /// After an error it may be lost, and no later sync need tell. Where the system has no such
    /// call, nothing happens.
    fn begin_writing_back(&self, range: Range<u64>) -> io::Result<()>;
    /// Makes durable what was written, and the length.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes sure that the blocks of this range exist, so that writing them cannot run out
    /// of space. Best effort: file systems that cannot promise that (or copy on write)
    /// are left alone.
    fn allocate(&self, start: u64, end: u64) -> io::Result<()>;
    fn set_length(&self, bytes: u64) -> io::Result<()>;
    fn length(&self) -> io::Result<u64>;
    /// Says that the file was changed now. A write that comes within the same tick of the clock finds
    /// that said already, and need not store it. Nothing depends on it.
    fn touch(&self) {}
    /// Whether nobody else holds a lock that excludes this one.
    fn try_lock(&self, exclusive: bool) -> io::Result<bool>;
    /// Gives the lock up. It also ends when the file is closed everywhere.
    fn unlock(&self) {}
}

/// Reads `length` bytes at `offset`, fewer where the file ends.
pub(crate) fn read_full(file: &dyn OpenFile, length: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let next = offset.saturating_add(buffer.len() as u64);
        match file.read_onto(&mut buffer, next) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(length);
    Ok(buffer)
}

/// Writes all of `parts` at `offset`.
pub(crate) fn write_full(
    file: &dyn OpenFile,
    mut parts: &mut [IoSlice<'_>],
    mut offset: u64,
) -> io::Result<()> {
    // Slices of nothing would look like a file that takes nothing.
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_at(parts, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) if planted("short-write-taken-for-a-whole-one") => break,
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut parts, written);
            }
            Err(error) if planted("interrupted-write-fails") => return Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether there is no space or quota left.
pub(crate) fn is_full(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
