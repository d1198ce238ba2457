//! Local files as storage for `wal-core`.
//!
//! A log is a directory. It holds one file per segment (`000000000001-00000000000000000000.wal`:
//! segment number, first LSN), a `LOCK` that the writer holds, a `reserve` with the space that a
//! recovery may need (as much as a segment), and up to two spares (`spare.ready`,
//! `spare.ready.2`): deleted segments that become the next ones, or files filled with zeros
//! ahead of use (`spare.building` until they are full). A deleted segment that is neither kept
//! nor unlinked yet ends with `.gone`. Other names are left alone. The next segment may have its name
//! before it begins.
//!
//! All of these are plain files. A symbolic link, a directory or a pipe under such a name is
//! never followed, written or waited for, neither for writing nor for reading: it is an error
//! that names it. To keep a log elsewhere, link its directory.
//!
//! # What it relies on
//!
//! - **Linux, on a local file system**: `fdatasync` returns only when the medium has the data,
//!   `fsync` of a directory when it has the names, `fallocate` promises space. ext4 and XFS do
//!   all three. No order is relied upon among names that were not synced. Where the file system takes
//!   such writes, a durable frame goes past the page cache with `O_DIRECT|O_DSYNC`, which is relied upon
//!   like `fdatasync`; only where its blocks were written before, and not in a segment that somebody has
//!   read (through this [`FileStorage`]) since it was begun. Other processes that follow the log read such
//!   frames from the device. What is accepted and not synced yet begins to reach the medium a MiB at a time
//!   (`sync_file_range`): nothing is relied upon, but an error counts as one of the write.
//! - **Copy-on-write file systems** (btrfs, ZFS, bcachefs) keep the first two promises. Space
//!   cannot be promised there, so a full disk may poison the handle (G5) where elsewhere it is
//!   only full (G7); and preparing or recycling blocks gains nothing.
//! - **Network file systems** must keep both promises, and their locks must reach all machines:
//!   NFS from version 4 with a server that syncs does, many do not, and a reader on another
//!   machine may see old lengths. Not tested.
//! - **macOS**: syncing a file is `F_FULLFSYNC`, which empties the drive's cache; a directory is
//!   synced likewise. Nothing promises space. Built in checks, not tested.
//! - **Windows**: syncing a file is `FlushFileBuffers`. There is no call that waits for names;
//!   NTFS journals them in order, so a crash may lose the newest segment's name with what was
//!   acknowledged in it, unless flushing the file took the journal along, as NTFS is known to do
//!   but does not promise. Nothing promises space. Built in checks, not tested.
//!
//! The feature `sim` adds a simulated disk that breaks every promise that is not made.
//!
//! ```
//! use wal_core::{Lsn, Options, Wal};
//! use wal_fs::FileStorage;
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("orders");
//! let (wal, _recovery) = Wal::open(FileStorage::open(path)?, Options::default())?;
//! wal.commit("order 1")?; // on the medium
//! assert_eq!(wal.reader(Lsn::ZERO)?.count(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(unsafe_code)]
// Nothing that input, disk or network can reach may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod background;
mod directory;
mod file_system;
mod fill;
mod handles;
mod lock;
mod os;
mod process;
mod reserve;
mod rhythm;
mod segment_file;
#[cfg(feature = "sim")]
pub mod sim;
mod spare;
mod storage;
mod through;

pub use storage::FileStorage;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
