//! The storage contract of `wal-core`, on files.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wal_core::{
    Epoch, Identity, IoFuture, Limits, Lsn, Position, SegmentId, SegmentMeta, Storage,
    StorageError, Sync, Writer,
};

use crate::directory;
use crate::file_system::{Access, FileSystem, is_full};
use crate::handles::{Handle, Handles};
use crate::lock::{self, Lock};
use crate::os::Os;
use crate::reserve::Reserve;
use crate::segment_file::SegmentFile;
use crate::spare::Spare;

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
    lock: Mutex<Option<Lock>>,
    /// All segments whose names are known.
    names: Mutex<BTreeMap<SegmentId, Lsn>>,
    writing: Mutex<Writing>,
    spare: Spare,
    reserve: Reserve,
    reading: Handles,
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
}

type Outcome<T> = Result<T, StorageError>;

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
        directory::create(system.as_ref(), directory)
            .map_err(|cause| StorageError::io(context(), cause))?;
        Ok(FileStorage {
            directory: directory.to_owned(),
            lock: Mutex::new(None),
            names: Mutex::new(directory::segments(system.as_ref(), directory, |_| {})?),
            writing: Mutex::default(),
            spare: Spare::new(&system, directory),
            reserve: Reserve::new(&system, directory),
            reading: Handles::default(),
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
        let directory = self.directory.display();
        StorageError::io(format!("{doing} segment {segment} in {directory}"), cause)
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
        let names = directory::segments(system, &self.directory, |_| {})?;
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

    fn append_now(&self, at: Position, frame: &[Bytes], sync: Sync) -> Outcome<()> {
        let mut writing = self.writing.lock();
        if at.offset == 0 {
            let bytes = frame.iter().map(|part| part.len() as u64).sum();
            let file = self.create(at, bytes, !writing.prepared)?;
            // The seal of the segment just left behind may still come; older ones are done
            // once they are synced.
            while writing.files.len() > 1 {
                let Some((id, mut old)) = writing.files.pop_first() else {
                    break;
                };
                old.sync()
                    .map_err(|cause| self.broken("syncing", id, cause))?;
            }
            writing.files.insert(at.segment, file);
            writing.unsynced_names = true;
        }
        let file = writing.files.get_mut(&at.segment).ok_or_else(|| {
            StorageError::Conflict(format!("segment {} is not open for appending", at.segment))
        })?;
        let bytes = frame.iter().map(|part| part.len() as u64).sum();
        // Before the first byte: what does not fit is `Full`, and nothing is broken.
        file.allocate(at.offset + bytes)
            .map_err(|cause| self.error("allocating", at.segment, cause))?;
        if sync == Sync::Yes {
            file.prepare_for(bytes);
        }
        file.append(at.offset, frame)
            .map_err(|cause| self.broken("writing", at.segment, cause))?;
        if file.is_synced_often() {
            self.spare.build();
        }
        match sync {
            Sync::Yes => self.sync_all(&mut writing),
            Sync::No => Ok(()),
        }
    }

    /// A file for a new segment, with all the space that it will need; `Full` if there is none.
    /// Recovery may use what was kept back.
    fn create(&self, at: Position, bytes: u64, recovery: bool) -> Outcome<SegmentFile> {
        let path = self.path(at.segment, at.lsn);
        let mut names = self.names.lock();
        if names.contains_key(&at.segment) {
            let taken = format!("segment {} exists already", at.segment);
            return Err(StorageError::Conflict(taken));
        }
        let failed = |cause| self.error("creating", at.segment, cause);
        let file = match self.spare.take(&path).map_err(failed)? {
            Some(file) => {
                let prepared = file.length().map_err(failed)?;
                SegmentFile::new(file, prepared, prepared)
            }
            None => match self.allocate_new(&path, bytes) {
                Err(cause) if recovery && is_full(&cause) => {
                    let taken = self.reserve.take(&path, bytes);
                    let (file, allocated) = taken.map_err(|_| failed(cause))?;
                    SegmentFile::new(file, allocated, 0)
                }
                created => created.map_err(failed)?,
            },
        };
        names.insert(at.segment, at.lsn);
        Ok(file)
    }

    fn allocate_new(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        let file = self.system.open(path, Access::CreateNew)?;
        let mut file = SegmentFile::new(file, 0, 0);
        let allocated = file.allocate(bytes.max(self.spare.segment_bytes()));
        if allocated.is_err() {
            self.system.remove(path)?;
        }
        allocated.map(|()| file)
    }

    /// Data first, then names: a name that is durable never shows less than its first frame.
    fn sync_all(&self, writing: &mut Writing) -> Outcome<()> {
        for (id, file) in writing.files.iter_mut().filter(|(_, file)| file.is_dirty()) {
            file.sync()
                .map_err(|cause| self.broken("syncing", *id, cause))?;
        }
        if writing.unsynced_names {
            self.sync_names()?;
            writing.unsynced_names = false;
        }
        Ok(())
    }

    fn sync_names(&self) -> Outcome<()> {
        let context = || format!("syncing log directory {}", self.directory.display());
        let synced = self.system.sync_directory(&self.directory);
        synced.map_err(|cause| StorageError::Io {
            context: context(),
            cause: Arc::new(cause),
        })
    }

    fn open_for_reading(&self, segment: SegmentId) -> Outcome<Arc<Handle>> {
        if let Some(handle) = self.reading.get(segment) {
            return Ok(handle);
        }
        let first = self.names.lock().get(&segment).copied();
        let first = first.ok_or_else(|| {
            let directory = self.directory.display();
            StorageError::NotFound(format!("segment {segment} in {directory}"))
        })?;
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
        let read = self.open_for_reading(segment)?.read(range);
        read.map_err(|cause| self.error("reading", segment, cause))
    }

    fn length_now(&self, segment: SegmentId) -> Outcome<u64> {
        let length = self.open_for_reading(segment)?.length();
        length.map_err(|cause| self.error("reading", segment, cause))
    }

    fn list_now(&self) -> Outcome<Vec<SegmentMeta>> {
        let names = directory::segments(self.system.as_ref(), &self.directory, |_| {})?;
        let listed = names.iter().map(|(id, first)| SegmentMeta {
            id: *id,
            first: Some(*first),
        });
        let listed = listed.collect();
        *self.names.lock() = names;
        Ok(listed)
    }

    /// Removes the segments that `doomed` picks, lowest first, each durably before the next: a
    /// crash in between leaves no gap, also where names reach the medium in any order.
    fn delete_now(&self, doomed: impl Fn(SegmentId) -> bool) -> Outcome<()> {
        let doomed: Vec<_> = {
            let names = self.names.lock();
            names
                .iter()
                .filter(|(id, _)| doomed(**id))
                .map(|(id, first)| (*id, self.path(*id, *first)))
                .collect()
        };
        for (id, path) in &doomed {
            self.system
                .remove(path)
                .map_err(|cause| self.error("deleting", *id, cause))?;
            self.names.lock().remove(id);
            self.reading.forget(*id);
            self.sync_names()?;
        }
        Ok(())
    }
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
        }
    }

    fn acquire(&self) -> IoFuture<Writer> {
        ready(self.acquire_now())
    }

    fn resign(&self) -> IoFuture<()> {
        self.spare.stop();
        let files = std::mem::take(&mut *self.writing.lock()).files;
        if let Some((_, last)) = files.last_key_value() {
            // Gives back the space prepared but not used. Failing to costs only that.
            let _ = last.trim();
        }
        *self.lock.lock() = None;
        ready(Ok(()))
    }

    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        let refilled = self.reserve.refill(segment_bytes);
        let context = || format!("reserving space in {}", self.directory.display());
        if refilled.is_ok() {
            self.spare.allow(segment_bytes);
            self.writing.lock().prepared = true;
        }
        ready(refilled.map_err(|cause| StorageError::io(context(), cause)))
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
        ready(self.delete_now(|id| id < segment))
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        ready(self.delete_now(|id| id == segment))
    }
}
