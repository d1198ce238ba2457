//! The storage contract of `wal-core`, on files.

use std::collections::{BTreeMap, HashSet};
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
use crate::file_system::{Access, Entry, FileSystem, is_full};
use crate::handles::{Handle, Handles};
use crate::lock::{self, Lock};
use crate::os::Os;
use crate::reserve::{self, Reserve};
use crate::rhythm::Rhythm;
use crate::segment_file::SegmentFile;
use crate::spare::{self, Spares};

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
    lock: Mutex<Option<Lock>>,
    /// All segments whose names are known.
    names: Mutex<BTreeMap<SegmentId, Lsn>>,
    writing: Mutex<Writing>,
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
    rhythm: Rhythm,
    /// Segments below were deleted: what is still to be stored there, as the seal of one, need
    /// not be.
    deleted_before: SegmentId,
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
            spares: Spares::new(&system, directory),
            lock: Mutex::new(None),
            names: Mutex::new(directory::segments(system.as_ref(), directory, |_, _| {})?),
            writing: Mutex::default(),
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
        let mut files = HashSet::new();
        let mut ours = Vec::new();
        let note = |entry: Entry<'_>, is_segment| {
            if is_segment {
                files.extend(entry.file);
            } else if let Some(name) = entry.name.to_str().filter(|name| is_ours(name)) {
                ours.push((name.to_owned(), entry.file));
            }
        };
        let names = directory::segments(self.system.as_ref(), &self.directory, note)?;
        for (name, file) in ours {
            // A crash may leave a file both names of a rename. The segment keeps it.
            let shared = file.is_some_and(|file| !files.insert(file));
            if shared {
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

    fn append_now(&self, at: Position, frame: &[Bytes], sync: Sync) -> Outcome<()> {
        let mut writing = self.writing.lock();
        let bytes = frame.iter().map(|part| part.len() as u64).sum();
        if at.offset == 0 {
            self.begin(&mut writing, at, bytes)?;
        }
        if at.segment >= writing.deleted_before {
            self.write(&mut writing, at, frame, bytes, sync)?;
        }
        match sync {
            Sync::Yes => self.sync_all(&mut writing),
            Sync::No => Ok(()),
        }
    }

    /// Makes room for the first frame of a new segment.
    fn begin(&self, writing: &mut Writing, at: Position, bytes: u64) -> Outcome<()> {
        // So that a crash leaves at most the newest name in doubt.
        if writing.unsynced_names {
            self.sync_all(writing)?;
        }
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
        Ok(())
    }

    fn write(
        &self,
        writing: &mut Writing,
        at: Position,
        frame: &[Bytes],
        bytes: u64,
        sync: Sync,
    ) -> Outcome<()> {
        let file = writing.files.get_mut(&at.segment).ok_or_else(|| {
            StorageError::Conflict(format!("segment {} is not open for appending", at.segment))
        })?;
        // Before the first byte: what does not fit is `Full`, and nothing is broken.
        file.allocate(at.offset.saturating_add(bytes))
            .map_err(|cause| self.error("allocating", at.segment, cause))?;
        if sync == Sync::Yes {
            file.prepare_for(bytes);
        }
        file.append(at.offset, frame)
            .map_err(|cause| self.broken("writing", at.segment, cause))?;
        writing.rhythm.frame(sync == Sync::Yes);
        // A quarter into the segment: until then, one that is deleted may become the next.
        if writing.rhythm.is_steady() && file.end() >= self.spares.segment_bytes() / 4 {
            self.spares.build();
        }
        Ok(())
    }

    /// A file for a new segment, with all the space that it will need; `Full` if there is none.
    /// Recovery begins with a new one, and on a full disk may use what was kept back.
    fn create(&self, at: Position, bytes: u64, recovery: bool) -> Outcome<SegmentFile> {
        let path = self.path(at.segment, at.lsn);
        let mut names = self.names.lock();
        if names.contains_key(&at.segment) {
            let taken = format!("segment {} exists already", at.segment);
            return Err(StorageError::Conflict(taken));
        }
        let created = if recovery {
            self.create_for_recovery(&path, bytes)
        } else {
            self.create_for_records(&path, bytes)
        };
        let file = created.map_err(|cause| self.error("creating", at.segment, cause))?;
        names.insert(at.segment, at.lsn);
        Ok(file)
    }

    fn create_for_records(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        if let Some((file, bytes)) = self.spares.take(path, bytes)? {
            return Ok(SegmentFile::new(file, bytes, bytes));
        }
        self.allocate_new(path, bytes).or_else(|cause| {
            if !is_full(&cause) {
                return Err(cause);
            }
            // What was deleted may not be unlinked yet.
            self.spares.settle();
            self.allocate_new(path, bytes)
        })
    }

    fn create_for_recovery(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        self.allocate_new(path, bytes).or_else(|cause| {
            if !is_full(&cause) {
                return Err(cause);
            }
            if let Some((file, bytes)) = self.spares.take(path, bytes)? {
                return Ok(SegmentFile::new(file, bytes, bytes));
            }
            let (file, allocated) = self.reserve.take(path, bytes).map_err(|_| cause)?;
            Ok(SegmentFile::new(file, allocated, 0))
        })
    }

    fn allocate_new(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        let file = self.system.open(path, Access::CreateNew)?;
        let mut file = SegmentFile::new(file, 0, 0);
        let allocated = file.allocate(bytes.max(self.spares.segment_bytes()));
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
        let names = directory::segments(self.system.as_ref(), &self.directory, |_, _| {})?;
        let listed = names.iter().map(|(id, first)| SegmentMeta {
            id: *id,
            first: Some(*first),
        });
        let listed = listed.collect();
        *self.names.lock() = names;
        Ok(listed)
    }

    /// Lets go of every segment below `before`, lowest first, each durably before the next: a
    /// crash in between leaves no gap, also where names reach the medium in any order. Only
    /// then may a file be reused or unlinked.
    fn delete_before_now(&self, before: SegmentId) -> Outcome<()> {
        let mut writing = self.writing.lock();
        loop {
            let lowest = {
                let names = self.names.lock();
                names.first_key_value().map(|(id, first)| (*id, *first))
            };
            let Some((id, first)) = lowest.filter(|(id, _)| *id < before) else {
                return Ok(());
            };
            // What was still to come there goes nowhere: the file may soon be another segment.
            writing.deleted_before = writing.deleted_before.max(id.next());
            writing.files.remove(&id);
            let retired = self.spares.retire(&self.path(id, first));
            let retired = retired.map_err(|cause| self.error("deleting", id, cause))?;
            self.forget(id);
            self.sync_names()?;
            self.spares.retired(retired);
        }
    }

    /// Removes one segment. It never becomes a spare: its number may be given out again.
    fn delete_now(&self, segment: SegmentId) -> Outcome<()> {
        let first = self.names.lock().get(&segment).copied();
        let Some(first) = first else {
            return Ok(());
        };
        let removed = self.system.remove(&self.path(segment, first));
        removed.map_err(|cause| self.error("deleting", segment, cause))?;
        self.forget(segment);
        self.sync_names()
    }

    fn forget(&self, segment: SegmentId) {
        self.names.lock().remove(&segment);
        self.reading.forget(segment);
    }
}

/// Whether a name that is no segment's is one of those that come and go beside them.
fn is_ours(name: &str) -> bool {
    let gone = name.strip_suffix(spare::GONE);
    spare::NAMES.contains(&name)
        || [spare::BUILDING, reserve::NAME].contains(&name)
        || gone.is_some_and(|segment| directory::parse(segment).is_some())
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
        self.spares.stop();
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
            self.spares.allow(segment_bytes);
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
        ready(self.delete_before_now(segment))
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        ready(self.delete_now(segment))
    }
}
