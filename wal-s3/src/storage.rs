//! The contract of `wal-core`, on an object store.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::Instant;
use wal_core::{
    Epoch, Identity, IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, StorageError,
    Sync, Writer,
};

use crate::cache::Cache;
use crate::directory::Directory;
use crate::inner::{Inner, random_id, stopped};
use crate::key::{Keys, Place};
use crate::locate::End;
use crate::object::{Header, Kind};
use crate::options::Options;
use crate::put::{self, Created, foreign};
use crate::read::FOOTER_BYTES;
use crate::requests::Requests;
use crate::term::Upload;
use crate::trim::not_the_writer;

/// What was seen so shortly before need not be looked at again.
const JUST_NOW: Duration = Duration::from_millis(2);
/// So many segments' headers are asked for at once by who opens a log for reading.
const HEADERS: usize = 32;
/// The longest object.
const OBJECT_BYTES: u64 = 1 << 30;

/// A log in an object store, below a prefix that nothing else uses.
///
/// Clones are handles on the same storage: one of them may be kept for [`requests`](Self::requests)
/// while the log has another.
///
/// ```
/// use std::sync::Arc;
/// use object_store::memory::InMemory;
/// use wal_core::Wal;
/// use wal_s3::ObjectStorage;
///
/// let bucket = Arc::new(InMemory::new());
/// let storage = ObjectStorage::new(bucket, "orders", wal_s3::Options::default())?;
/// let (wal, _) = Wal::open(storage.clone(), wal_core::Options::default())?;
/// wal.commit("an order")?;
/// wal.close()?;
/// println!("{:?}", storage.requests());
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ObjectStorage {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Arc<Inner>,
    /// The runtime, if it is this storage's own.
    own: Option<Runtime>,
}

impl ObjectStorage {
    /// A log below `prefix`. Nothing is asked of the store before the log is opened. Requests run
    /// on two threads of the storage's own (`wal-s3`).
    ///
    /// Do not use `object_store::local::LocalFileSystem`: it does not sync what it
    /// stores. For local disks there is `wal-fs`.
    ///
    /// # Errors
    /// An option out of range, a prefix that is no path, or no threads to be had.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: Options,
    ) -> Result<Self, StorageError> {
        let name = store.to_string();
        Self::named(&name, store, prefix, options)
    }

    /// On threads of its own; `name` is what people call the store.
    pub(crate) fn named(
        name: &str,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: Options,
    ) -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("wal-s3")
            .enable_all()
            .build()
            .map_err(|cause| StorageError::io("starting the threads of wal-s3", cause))?;
        let keys = Keys::new(name, prefix)?;
        let handle = runtime.handle().clone();
        Self::with(keys, store, options, handle, Some(runtime))
    }

    /// As [`ObjectStorage::new`], on a runtime of the caller's, which must have time and I/O
    /// enabled, and must not be the one whose threads call a log's blocking methods.
    ///
    /// # Errors
    /// As for [`ObjectStorage::new`].
    pub fn on_runtime(
        runtime: Handle,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: Options,
    ) -> Result<Self, StorageError> {
        let keys = Keys::new(&store.to_string(), prefix)?;
        Self::with(keys, store, options, runtime, None)
    }

    fn with(
        keys: Keys,
        store: Arc<dyn ObjectStore>,
        options: Options,
        handle: Handle,
        own: Option<Runtime>,
    ) -> Result<Self, StorageError> {
        let inner = Arc::new(Inner::new(keys, store, options, handle)?);
        Ok(ObjectStorage {
            shared: Arc::new(Shared { inner, own }),
        })
    }

    /// What was asked of the store since this storage was made.
    #[must_use]
    pub fn requests(&self) -> Requests {
        self.shared.inner.client.counters.read()
    }

    /// The name of the object that holds the byte of a segment, and where in that object it
    /// stands: what an error's position means in the bucket. `None` if that is not known without
    /// asking the store.
    #[must_use]
    pub fn object_of(&self, segment: SegmentId, offset: u64) -> Option<(String, u64)> {
        let inner = &self.shared.inner;
        let known = inner.directory.lock().floor(segment, offset)?;
        let object = inner.cache.lock().peek(known.place);
        let extra = object.map_or(0, |object| object.extra.len() as u64);
        let within = offset
            .checked_sub(known.start)
            .filter(|_| offset < known.end)?;
        let at = crate::object::HEADER_BYTES as u64 + extra + within;
        Some((inner.keys.object(known.place).to_string(), at))
    }

    /// Deletes everything below the prefix, seals included: there is no log any more, and nothing
    /// that would stop a writer of it. Returns the number of objects. For logs that were made for
    /// a test or a measurement.
    ///
    /// # Errors
    /// What the store says; then a part may be left.
    pub fn erase(&self) -> Result<u64, StorageError> {
        let inner = self.inner();
        let (done, erased) = std::sync::mpsc::channel();
        self.shared.inner.runtime.spawn(async move {
            let _ = done.send(inner.erase().await);
        });
        erased.recv().unwrap_or_else(|_| {
            let stopped = std::io::Error::other("the runtime was shut down");
            Err(StorageError::io("erasing a log", stopped))
        })
    }

    /// Runs a task of the storage's.
    fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> IoFuture<T> {
        let task = self.shared.inner.runtime.spawn(task);
        Box::pin(async move { task.await.map_err(stopped)? })
    }

    fn inner(&self) -> Arc<Inner> {
        Arc::clone(&self.shared.inner)
    }
}

fn ready<T: Send + 'static>(result: Result<T, StorageError>) -> IoFuture<T> {
    Box::pin(std::future::ready(result))
}

impl Storage for ObjectStorage {
    fn limits(&self) -> Limits {
        let options = &self.shared.inner.options;
        Limits {
            align: 1,
            in_flight: options.in_flight,
            append_bytes: OBJECT_BYTES,
            segment_appends: options.segment_objects,
            in_order: true,
            reopens: false,
        }
    }

    fn acquire(&self) -> IoFuture<Writer> {
        let inner = self.inner();
        self.run(async move { inner.acquire().await })
    }

    fn resign(&self) -> IoFuture<()> {
        let inner = self.inner();
        self.run(async move { inner.resign().await })
    }

    fn append(&self, at: Position, frame: Vec<Bytes>, _sync: Sync) -> IoFuture<()> {
        let inner = self.inner();
        let left = {
            let term = inner.term.lock();
            term.as_ref().is_some_and(|term| term.has_left(at.segment))
        };
        if left {
            return self.run(async move { inner.append_footer(at, frame).await });
        }
        let upload = {
            let mut term = inner.term.lock();
            let mut directory = inner.directory.lock();
            let term = term.as_mut().ok_or_else(not_the_writer);
            term.and_then(|term| term.frames(&mut directory, at, frame))
        };
        match upload {
            Ok(upload) => self.run(async move { inner.upload(upload).await }),
            Err(cause) => ready(Err(cause)),
        }
    }

    /// What is stored is durable.
    fn sync(&self) -> IoFuture<()> {
        let term = self.shared.inner.term.lock();
        ready(term.as_ref().map_or(Ok(()), |term| term.check()))
    }

    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        let inner = self.inner();
        if let Some(bytes) = inner.read_cached(segment, &range) {
            return ready(Ok(bytes));
        }
        self.run(async move {
            inner.look_first().await?;
            inner.read(segment, range).await
        })
    }

    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        let inner = self.inner();
        self.run(async move { inner.list().await })
    }

    fn list_damaged(&self) -> IoFuture<Vec<SegmentMeta>> {
        let inner = self.inner();
        self.run(async move { inner.list_damaged().await })
    }

    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        let inner = self.inner();
        self.run(async move {
            inner.look_first().await?;
            if inner.is_newest(segment) && !inner.has_just_looked().await {
                inner.look_again().await?;
            }
            let directory = inner.directory.lock();
            let entry = directory.get(segment);
            let entry =
                entry.ok_or_else(|| StorageError::NotFound(format!("segment {segment}")))?;
            let footer = directory.after(segment).map_or(0, |_| FOOTER_BYTES);
            Ok(entry.bytes.saturating_add(footer))
        })
    }

    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        let inner = self.inner();
        self.run(async move { inner.trim_before(segment).await })
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        let inner = self.inner();
        self.run(async move { inner.drop_segment(segment).await })
    }
}

impl Inner {
    async fn acquire(self: &Arc<Self>) -> Result<Writer, StorageError> {
        if self
            .term
            .lock()
            .as_ref()
            .is_some_and(|term| term.check().is_ok())
        {
            let held = format!(
                "the log at {} is open for writing in this handle",
                self.keys
            );
            return Err(StorageError::InUse(held));
        }
        // What an earlier term had under way may never have been stored.
        *self.term.lock() = None;
        *self.directory.lock() = Directory::default();
        *self.cache.lock() = Cache::new(self.options.cache_bytes);
        let taken = self.take(random_id()?).await;
        let term = taken.map_err(|why| self.not_opened(why))?;
        let writer = Writer {
            epoch: Epoch::new(term.epoch),
            id: Identity::new(term.writer),
        };
        *self.term.lock() = Some(term);
        *self.next_hint.lock() = Some(u64::from(self.options.hint_objects));
        self.sweep();
        Ok(writer)
    }

    /// Closes the log, if this handle has it open for writing.
    async fn resign(self: &Arc<Self>) -> Result<(), StorageError> {
        let upload = {
            let mut term = self.term.lock();
            let directory = self.directory.lock();
            match term
                .as_mut()
                .map(|term| term.note(&directory, Kind::Close, Vec::new()))
            {
                Some(Ok(upload)) => Some(upload),
                _ => None, // fenced or failed: nothing can be stored any more
            }
        };
        let closed = match upload {
            Some(upload) => self.store(upload).await,
            None => Ok(()),
        };
        if closed.is_ok()
            && let Some((_, header)) = self.confirmed_header()
        {
            self.write_hint(header).await;
        }
        *self.term.lock() = None;
        *self.end.lock().await = None;
        closed
    }

    /// The last append to a segment that was left. It stands outside of the sequence: nothing
    /// that is acknowledged depends on it.
    async fn append_footer(
        self: &Arc<Self>,
        at: Position,
        frames: Vec<Bytes>,
    ) -> Result<(), StorageError> {
        let header = {
            let term = self.term.lock();
            let term = term.as_ref().ok_or_else(not_the_writer)?;
            term.check()?;
            let entry = self.directory.lock().get(at.segment).copied();
            let taken = || StorageError::Conflict(format!("{at} is taken"));
            let entry = entry
                .filter(|entry| entry.bytes == at.offset)
                .ok_or_else(taken)?;
            Header {
                kind: Kind::Footer,
                extra_bytes: 0,
                extra_crc: crc32c::crc32c(&[]),
                writer: term.writer,
                place: Place::new(term.epoch, 0),
                segment: at.segment,
                offset: at.offset,
                frame_bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
                first: at.lsn,
                confirmed: term.confirmed(),
                head: entry.place,
                trim: Place::default(),
                gone: Place::default(),
                durable: at.lsn,
                time: crate::term::now_micros(),
                previous: 0,
            }
        };
        let upload = Upload::new(header, Vec::new(), frames);
        let path = self.keys.footer(at.segment);
        let payload = upload.payload;
        match put::create(&self.client, &self.hedging, &path, &upload.header, payload).await? {
            Created::Mine => Ok(()),
            Created::Other(_) => Err(foreign(&path, "another footer is there")),
        }
    }

    fn is_newest(&self, segment: SegmentId) -> bool {
        let directory = self.directory.lock();
        directory
            .newest()
            .is_some_and(|(newest, _)| newest == segment)
    }

    pub(crate) fn known_segments(&self) -> Vec<SegmentMeta> {
        let directory = self.directory.lock();
        let segments = directory.iter().map(|(id, entry)| SegmentMeta {
            id: *id,
            first: Some(entry.first),
        });
        segments.collect()
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.term.lock().is_some()
    }

    /// Finds out which segments there are, if this handle has not looked yet.
    async fn look_first(self: &Arc<Self>) -> Result<(), StorageError> {
        if !self.is_writer() && self.end.lock().await.is_none() {
            self.look_again().await?;
        }
        Ok(())
    }

    /// A listing and the length that is asked for right after it cost one look.
    async fn has_just_looked(&self) -> bool {
        let looked = self.end.lock().await.and_then(|end| end.at);
        looked.is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    /// Looks for what others have stored since; a writer knows.
    async fn look_again(self: &Arc<Self>) -> Result<(), StorageError> {
        if self.is_writer() || self.is_damaged() {
            return Ok(());
        }
        let mut end = self.end.lock().await;
        let before = *end;
        let Some(known) = before else {
            let found = self.find_end().await;
            *end = Some(found_now(found.map_err(|why| self.not_opened(why))?));
            self.ask_for_headers(HEADERS);
            return Ok(());
        };
        let mut found = self
            .walk(known, self.batch(known.hole, 1), u64::MAX)
            .await?;
        if let Some(end) = found.as_mut().filter(|end| end.hole == known.hole) {
            end.idle = known.idle.saturating_add(1);
            // Perhaps what follows here was written, read by others, and trimmed.
            let hint = match end.idle.is_multiple_of(16) {
                true => self.read_hint().await?,
                false => None,
            };
            if hint.is_some_and(|hint| hint.place > known.hole) {
                found = None;
            }
        }
        let found = match found {
            Some(found) => found,
            None => self.find_end().await?,
        };
        *end = Some(found_now(found));
        Ok(())
    }

    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<SegmentMeta>, StorageError> {
        self.look_again().await?;
        loop {
            let unknown = self.directory.lock().unknown_before();
            let Some(oldest) = unknown else { break };
            let object = self.fetch(oldest).await?.ok_or_else(|| {
                StorageError::NotFound(format!("{} is missing", self.keys.object(oldest)))
            })?;
            let extended = self.directory.lock().extend_back(&object.extra);
            extended.map_err(|why| foreign(&self.keys.object(oldest), why))?;
        }
        Ok(self.known_segments())
    }
}

pub(crate) fn found_now(end: End) -> End {
    End {
        at: Some(Instant::now()),
        ..end
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.inner.is_writer() {
            let inner = Arc::clone(&self.inner);
            let (done, closed) = std::sync::mpsc::channel();
            self.inner.runtime.spawn(async move {
                let _ = done.send(inner.resign().await);
            });
            match closed.recv_timeout(self.inner.options.close_within) {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::warn!(log = %self.inner.keys, %why, "not closed"),
                Err(_) => tracing::warn!(log = %self.inner.keys, "not closed in time"),
            }
        }
        if let Some(runtime) = self.own.take() {
            runtime.shutdown_background();
        }
    }
}
