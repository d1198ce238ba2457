//! Local files as storage for `wal-core`.
//!
//! A log is a directory. It holds one file per segment (`000000000001-00000000000000000000.wal`:
//! segment number, first LSN), a `LOCK` that the writer holds, a `reserve` with the space that a
//! recovery may need (as much as a segment), and at most one spare segment that is filled with
//! zeros ahead of use. Other names are left alone.
//!
//! What it relies on: `fdatasync` (`F_FULLFSYNC` on macOS) returns only when the medium has
//! the data; `fsync` of a directory makes its names durable (Unix; on Windows the file
//! system journals them). Meant for local file systems; a network file system must keep
//! both promises and its locks, which few do.
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

#![forbid(unsafe_code)]
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
mod reserve;
mod rhythm;
mod segment_file;
#[cfg(feature = "sim")]
pub mod sim;
mod spare;
mod storage;

pub use storage::FileStorage;

/// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
