//! A simulated disk under [`FileStorage`], seeded and deterministic (feature `sim`).
//!
//! It keeps what programs see (the page cache) apart from what the medium has. A call that
//! syncs moves one to the other, as far as its file system promises; [`SimDisk::crash`]
//! throws away the rest, or some of it, or worse:
//!
//! - data that was not synced is kept, dropped, cut at a 512-byte sector, reordered by
//!   sectors, zeroed, or replaced by random bytes or by those of a file that was there before;
//! - names (create, remove, rename) and lengths are lost until they were made durable, and a
//!   length may be ahead of the data; [`Metadata`] says how;
//! - a sync that failed has lost what it was to store, and the next one reports success: the
//!   pages look clean. Reading shows them until the cache is dropped;
//! - any call can fail, end the process or the power, and find no space ([`SimDisk::at`]);
//!   with [`SimDisk::noise`], reads and writes are interrupted and cut short.
//!
//! Background work runs at once, in the caller, so that equal seeds give equal runs.
//!
//! ```
//! use wal_core::{Lsn, Options, Wal};
//! use wal_fs::sim::{Metadata, SimDisk};
//! let disk = SimDisk::new(42, Metadata::Strict);
//! let (wal, _) = Wal::open(disk.storage("/log")?, Options::default())?;
//! wal.commit("kept")?;
//! disk.crash();
//! assert!(wal.commit("refused").is_err()); // that process is gone
//! let (_, recovery) = Wal::open(disk.storage("/log")?, Options::default())?;
//! assert_eq!(recovery.end, Lsn::new(1));
//! # Ok::<(), wal_core::Error>(())
//! ```

mod calls;
mod crash;
mod disk;
mod file;
mod pending;
mod place;
mod random;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use wal_core::StorageError;

use crate::FileStorage;
use calls::Process;
use disk::Disk;

/// What a file system promises about names and lengths.
///
/// ```
/// use wal_fs::sim::{Metadata, SimDisk};
/// let disk = SimDisk::new(1, Metadata::Journalled);
/// assert_eq!(disk.calls(), 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metadata {
    /// As ext4 and XFS do it: changes reach the medium in order, so a crash leaves a prefix of
    /// them. Syncing a file or a directory takes along everything before its last change.
    Journalled,
    /// As POSIX promises it and no more: every name and every length by itself, until its
    /// directory or file is synced. A rename is two changes.
    Strict,
}

/// What happens at a call.
///
/// ```
/// use wal_core::{Error, Options, Wal};
/// use wal_fs::sim::{Fault, Metadata, SimDisk};
/// let disk = SimDisk::new(1, Metadata::Journalled);
/// let (wal, _) = Wal::open(disk.storage("/log")?, Options::default())?;
/// wal.commit("stored")?;
/// disk.at(0, Fault::Error);
/// assert!(matches!(wal.commit("who knows"), Err(Error::Poisoned { .. })));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The power fails, before the call or after it took effect.
    Crash,
    /// The process ends likewise; the page cache stays.
    Kill,
    /// The call fails with `EIO`. A write may have stored a part, a sync has lost its data.
    Error,
    /// The call fails with `ENOSPC` if it is one that may need space.
    NoSpace,
    /// No space is left from this call on, until [`SimDisk::set_free`] gives some.
    Full,
    /// The file system refuses changes from this call on (`EROFS`).
    ReadOnly,
    /// The user may change nothing from this call on (`EACCES`).
    Denied,
    /// The next write or sync of a file from this call on fails, as with `Error`.
    WriteError,
}

impl Fault {
    /// Whether a call of this kind is one for it.
    fn strikes(self, call: &str) -> bool {
        self != Fault::WriteError || ["write", "write_back", "sync"].contains(&call)
    }
}

/// A simulated disk. Clones are the same disk.
///
/// ```
/// use wal_fs::sim::{Fault, Metadata, SimDisk};
/// let disk = SimDisk::new(7, Metadata::Strict);
/// disk.at(3, Fault::Crash); // the fourth call from now
/// assert!(!disk.has_struck());
/// ```
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<Disk>>);

impl SimDisk {
    /// An empty disk. Equal seeds give equal faults.
    #[must_use]
    pub fn new(seed: u64, metadata: Metadata) -> Self {
        SimDisk(Arc::new(Mutex::new(Disk::new(seed, metadata))))
    }

    /// A log on this disk, as a process sees it that lives until the next crash or kill.
    ///
    /// # Errors
    /// As for [`FileStorage::open`].
    pub fn storage(&self, directory: impl AsRef<Path>) -> Result<FileStorage, StorageError> {
        let life = self.0.lock().life;
        let process = Process::new(Arc::clone(&self.0), life);
        FileStorage::on(Arc::new(process), directory.as_ref())
    }

    /// Plans a fault for the call after `calls` more of them; replaces an earlier plan.
    pub fn at(&self, calls: u64, fault: Fault) {
        let mut disk = self.0.lock();
        disk.plan = Some((disk.calls + calls, fault));
        disk.struck = None;
    }

    /// Whether the planned fault has happened.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        self.0.lock().struck.is_some()
    }

    /// The kind of call at which the planned fault happened, as [`SimDisk::calls_of`] names it.
    #[must_use]
    pub fn struck_call(&self) -> Option<&'static str> {
        self.0.lock().struck
    }

    /// A disk of its own in the same state, with other fates to come. No process lives on it.
    #[must_use]
    pub fn fork(&self, seed: u64) -> SimDisk {
        let mut disk = self.0.lock().clone();
        disk.reseed(seed);
        disk.end_of_life();
        SimDisk(Arc::new(Mutex::new(disk)))
    }

    /// Takes back what was planned, and what a planned fault set up to last.
    pub fn heal(&self) {
        let mut disk = self.0.lock();
        (disk.plan, disk.refusal, disk.capacity) = (None, None, u64::MAX);
    }

    /// Interrupts and shortens reads and writes from now on, or no more.
    pub fn noise(&self, noise: bool) {
        self.0.lock().noise = noise;
    }

    /// Power loss: what was not durable takes its fate, and every process is gone.
    pub fn crash(&self) {
        self.0.lock().crash();
    }

    /// kill -9: every process is gone; the page cache stays, apart from pages that a failed
    /// sync has lost, which may be read from the medium again.
    pub fn kill(&self) {
        self.0.lock().kill();
    }

    /// Leaves this many bytes free.
    pub fn set_free(&self, bytes: u64) {
        let mut disk = self.0.lock();
        disk.capacity = disk.used().saturating_add(bytes);
    }

    /// Calls made so far, of any kind.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// How often one kind of call was made: `write`, `sync`, `sync_directory`, `read`,
    /// `length`, `stat`, `open`, `rename`, `remove`, `list`, `allocate`, `set_length`, `lock`,
    /// `create_directory`.
    #[must_use]
    pub fn calls_of(&self, kind: &str) -> u64 {
        self.0.lock().counts.get(kind).copied().unwrap_or(0)
    }

    /// The last calls made, oldest first, for a message when a test fails.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        self.0.lock().trace.iter().cloned().collect()
    }

    /// Every file as processes see it, with its length in bytes.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.0.lock().files()
    }

    /// The contents of a file as processes see it.
    #[must_use]
    pub fn contents(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let disk = self.0.lock();
        let inode = disk.names.get(path.as_ref())?;
        disk.inodes.get(inode).map(|inode| inode.cache.clone())
    }

    /// Puts a file there, durably, behind the back of every process.
    pub fn put(&self, path: impl AsRef<Path>, contents: Vec<u8>) {
        self.0.lock().put(path.as_ref(), contents);
    }

    /// Takes a file away, likewise.
    pub fn lose(&self, path: impl AsRef<Path>) {
        self.0.lock().lose(path.as_ref());
    }
}
