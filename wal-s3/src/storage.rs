//! The contract of `wal-core`, on an object store.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::runtime::{Builder, Handle, Runtime};
use wal_core::{
    IoFuture, Limits, Position, SegmentId, SegmentMeta, Storage, StorageError, Sync, Writer,
};

use crate::inner::{Inner, stopped};
use crate::key::Keys;
use crate::options::Options;
use crate::read::FOOTER_BYTES;
use crate::requests::Requests;
use crate::trim::not_the_writer;

mod looking;
mod role;

pub(crate) use looking::found_now;

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
