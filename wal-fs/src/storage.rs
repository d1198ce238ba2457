//! The storage contract of `wal-core`, on files.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use wal_core::planted::planted;
use wal_core::{
    Epoch, Identity, IoFuture, Limits, Lsn, Position, SegmentId, SegmentMeta, Storage,
    StorageError, Sync, Writer,
};

use crate::directory;
use crate::file_system::{Access, Entry, FileSystem, Kind};
use crate::handles::{Handle, Handles};
use crate::lock::{self, Lock};
use crate::os::Os;
use crate::process;
use crate::reserve::{self, Reserve};
use crate::rhythm::Rhythm;
use crate::segment_file::SegmentFile;
use crate::spare::{self, Spares};
use crate::through::Buffer;
use announced::Announced;

mod announced;
mod deleting;
mod writing;

/// Frames start on blocks of this size, so that no acknowledged block is ever rewritten.
const BLOCK: u32 = 4096;

/// A log in a directory. Every call blocks until it is done.
///
/// ```
/// use wal_core::Storage;
/// use wal_fs::FileStorage;
/// let dir = tempfile::tempdir()?;
/// let storage = FileStorage::open(dir.path().join("log"))?;
/// assert_eq!(storage.limits().align, 4096);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileStorage {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    /// Before the lock: background work ends before another writer may begin.
    spares: Spares,
    /// As the spares.
    announced: Announced,
    lock: Mutex<Option<Lock>>,
    /// All segments whose names are known. Whoever holds the lock knows them all.
    names: Names,
    writing: Mutex<Writing>,
    reserve: Reserve,
    reading: Arc<Handles>,
    /// The newest segment that somebody has read: what is written there is soon read again.
    followed: AtomicU64,
}

/// What the writer has open.
#[derive(Debug, Default)]
struct Writing {
    /// The current segment, the one before (its seal may still come), and older ones
    /// that have unsynced data.
    files: BTreeMap<SegmentId, SegmentFile>,
    unsynced_names: bool,
    /// Whether records have been announced: before, only recovery writes.
    prepared: bool,
    rhythm: Rhythm,
    /// For frames that go past the page cache.
    buffer: Buffer,
    /// Segments below were deleted: what is still to be stored there, as the seal of one, need
    /// not be.
    deleted_before: SegmentId,
}

type Outcome<T> = Result<T, StorageError>;

/// The segments that there are, and where each begins.
type Names = Arc<Mutex<BTreeMap<SegmentId, Lsn>>>;

impl FileStorage {
    /// The log in this directory, which is created if it does not exist. Takes no lock yet:
    /// [`Wal::open`](wal_core::Wal::open) does.
    ///
    /// # Errors
    /// What the system says if the directory cannot be created or is none.
    pub fn open(directory: impl AsRef<Path>) -> Result<FileStorage, StorageError> {
        Self::on(Arc::new(Os), directory.as_ref())
    }

    /// The log in this directory of this file system.
    pub(crate) fn on(system: Arc<dyn FileSystem>, directory: &Path) -> Outcome<FileStorage> {
        let context = || format!("opening log directory {}", directory.display());
        let found = directory::create(system.as_ref(), directory)
            .and_then(|()| system.stat(directory))
            .and_then(|(kind, _)| match kind {
                Kind::Directory | Kind::Symlink => Ok(()), // a link to one will do
                Kind::File | Kind::Other => Err(io::ErrorKind::NotADirectory.into()),
            });
        found.map_err(|cause| StorageError::io(context(), cause))?;
        let spares = Spares::new(&system, directory);
        Ok(FileStorage {
            directory: directory.to_owned(),
            announced: Announced::new(&system, directory),
            spares,
            lock: Mutex::new(None),
            names: Arc::default(),
            writing: Mutex::default(),
            reserve: Reserve::new(&system, directory),
            reading: Arc::default(),
            followed: AtomicU64::new(0),
            system,
        })
    }

    /// Who writes this log at the moment, as its lock says ("process 4711"); `None` if nobody.
    ///
    /// # Errors
    /// What the system says if the lock cannot be examined.
    pub fn writer(&self) -> Result<Option<String>, StorageError> {
        lock::holder(self.system.as_ref(), &self.directory)
    }

    fn path(&self, segment: SegmentId, first: Lsn) -> PathBuf {
        self.directory.join(directory::file_name(segment, first))
    }

    fn error(&self, doing: &str, segment: SegmentId, cause: io::Error) -> StorageError {
        error_at(&self.directory, doing, segment, cause)
    }

    /// An error after the first byte was written. Never `Full`, which says that nothing was:
    /// what the medium has is unknown, whatever the cause (G5).
    fn broken(&self, doing: &str, segment: SegmentId, cause: io::Error) -> StorageError {
        let directory = self.directory.display();
        StorageError::Io {
            context: format!("{doing} segment {segment} in {directory}"),
            cause: Arc::new(cause),
        }
    }

    fn acquire_now(&self) -> Outcome<Writer> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|cause| {
            StorageError::io(
                "drawing a random identity",
                io::Error::other(cause.to_string()),
            )
        })?;
        let system = self.system.as_ref();
        let lock = Lock::acquire(system, &self.directory)?;
        let names = self.take_stock()?;
        if names.is_empty() {
            directory::sync_name(system, &self.directory).map_err(|cause| {
                let context = format!("syncing the name of {}", self.directory.display());
                StorageError::io(context, cause)
            })?;
        }
        // Nobody else creates segments while we hold the lock, so the number of the first
        // that this writer will create is higher than every earlier writer's.
        let highest = names.keys().next_back().map_or(0, |id| id.get());
        *self.names.lock() = names;
        *self.lock.lock() = Some(lock);
        Ok(Writer {
            epoch: Epoch::new(highest.saturating_add(1)),
            id: Identity::new(u128::from_le_bytes(id)),
        })
    }

    /// Looks at all names, as their new owner: the segments, and what of ours lies beside them.
    fn take_stock(&self) -> Outcome<BTreeMap<SegmentId, Lsn>> {
        self.spares.stop(); // what an earlier attempt may have found
        let mut files = Vec::new();
        let mut ours = Vec::new();
        let note = |entry: Entry<'_>, is_segment| {
            if is_segment {
                files.extend(entry.file);
            } else if let Some(name) = entry.name.to_str().filter(|name| is_ours(name)) {
                ours.push((name.to_owned(), entry.file));
            }
        };
        let names = directory::segments(self.system.as_ref(), &self.directory, note)?;
        // What is seen may not be durable: an earlier writer may have been killed between a
        // rename and its sync, and power loss would still bring the old name back.
        if !planted("names-believed-unsynced") {
            self.sync_names()?;
        }
        for (name, file) in ours {
            // A crash may leave a file both names of a rename. The segment keeps it.
            let shared = file.is_some_and(|file| files.contains(&file));
            files.extend(file);
            if shared && !planted("second-name-of-a-segment-kept") {
                let path = self.directory.join(&name);
                let context = || format!("removing the second name {}", path.display());
                let removed = self.system.remove(&path);
                removed.map_err(|cause| StorageError::io(context(), cause))?;
            } else if name != reserve::NAME {
                self.spares.adopt(&name);
            }
        }
        Ok(names)
    }

    fn open_for_reading(&self, segment: SegmentId) -> Outcome<Arc<Handle>> {
        if let Some(handle) = self.reading.get(segment) {
            return Ok(handle);
        }
        let first = self.first_of(segment)?;
        let path = self.path(segment, first);
        let file = self
            .system
            .open(&path, Access::Read)
            .map_err(|cause| StorageError::io(format!("opening {}", path.display()), cause))?;
        let handle = Arc::new(Handle::new(file));
        self.reading.put(segment, &handle);
        Ok(handle)
    }

    fn read_now(&self, segment: SegmentId, range: &Range<u64>) -> Outcome<Bytes> {
        if segment.get() > self.followed.load(Ordering::Relaxed) {
            self.followed.fetch_max(segment.get(), Ordering::Relaxed);
        }
        let read = self.open_for_reading(segment)?.read(range);
        read.map_err(|cause| self.error("reading", segment, cause))
    }

    fn length_now(&self, segment: SegmentId) -> Outcome<u64> {
        let length = self.open_for_reading(segment)?.length();
        length.map_err(|cause| self.error("reading", segment, cause))
    }

    /// The first LSN of a segment, as its name says; a reader looks again for one it does not know.
    fn first_of(&self, segment: SegmentId) -> Outcome<Lsn> {
        let known = || self.names.lock().get(&segment).copied();
        if known().is_none() {
            self.refresh()?;
        }
        known().ok_or_else(|| {
            let directory = self.directory.display();
            StorageError::NotFound(format!("segment {segment} in {directory}"))
        })
    }

    /// Lists the directory, unless nobody else can have changed it.
    fn refresh(&self) -> Outcome<()> {
        let lock = self.lock.lock();
        if lock.is_none() {
            let found = directory::segments(self.system.as_ref(), &self.directory, |_, _| {})?;
            *self.names.lock() = found;
        }
        Ok(())
    }

    fn list_now(&self) -> Outcome<Vec<SegmentMeta>> {
        self.refresh()?;
        let names = self.names.lock();
        let listed = names.iter().map(|(id, first)| SegmentMeta {
            id: *id,
            first: Some(*first),
        });
        Ok(listed.collect())
    }
}

/// Whether a name that is no segment's is one of those that come and go beside them.
fn is_ours(name: &str) -> bool {
    let gone = name.strip_suffix(spare::GONE);
    spare::NAMES.contains(&name)
        || [spare::BUILDING, reserve::NAME].contains(&name)
        || gone.is_some_and(|segment| directory::parse(segment).is_some())
}

fn error_at(directory: &Path, doing: &str, segment: SegmentId, cause: io::Error) -> StorageError {
    let directory = directory.display();
    StorageError::io(format!("{doing} segment {segment} in {directory}"), cause)
}

fn sync_names(system: &dyn FileSystem, directory: &Path) -> Outcome<()> {
    let synced = system.sync_directory(directory);
    synced.map_err(|cause| StorageError::Io {
        context: format!("syncing log directory {}", directory.display()),
        cause: Arc::new(cause),
    })
}

fn ready<T: Send + 'static>(result: Outcome<T>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

impl Storage for FileStorage {
    fn limits(&self) -> Limits {
        Limits {
            align: BLOCK,
            in_flight: 1,
            append_bytes: 1 << 40,
            ..Limits::default()
        }
    }

    fn acquire(&self) -> IoFuture<Writer> {
        ready(self.acquire_now())
    }

    fn resign(&self) -> IoFuture<()> {
        self.take_back_announced();
        self.spares.stop();
        let files = std::mem::take(&mut *self.writing.lock()).files;
        if let Some((_, last)) = files.last_key_value() {
            // Gives back the space prepared but not used. Failing to costs only that.
            let _ = last.trim();
        }
        *self.lock.lock() = None;
        ready(Ok(()))
    }

    fn process(&self) -> u32 {
        process::id()
    }

    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        let refilled = self.reserve.refill(segment_bytes);
        let context = || format!("reserving space in {}", self.directory.display());
        if refilled.is_ok() {
            self.spares.allow(segment_bytes);
            self.writing.lock().prepared = true;
        }
        ready(refilled.map_err(|cause| StorageError::io(context(), cause)))
    }

    fn announce(&self, at: Position) {
        self.announce_now(at);
    }

    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        ready(self.append_now(at, &frame, sync))
    }

    fn sync(&self) -> IoFuture<()> {
        ready(self.sync_all(&mut self.writing.lock()))
    }

    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        ready(self.read_now(segment, &range))
    }

    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        ready(self.list_now())
    }

    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        ready(self.length_now(segment))
    }

    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        self.delete_before_soon(segment)
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        ready(self.delete_now(segment))
    }
}
