//! Any store, made as slow as another.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::latency::{Alarm, Latency, Profile};
use super::random::Random;

/// A store whose requests take as long as a [`Profile`] says, on top of what they take anyway:
/// for instance files behind the latencies of S3, which outlive the process that wrote them.
///
/// ```
/// use std::sync::Arc;
/// use object_store::memory::InMemory;
/// use wal_s3::sim::{Delayed, Profile};
/// let store = Delayed::new(Arc::new(InMemory::new()), Profile::EXPRESS, 1);
/// println!("{store}");
/// ```
pub struct Delayed {
    store: Arc<dyn ObjectStore>,
    profile: Profile,
    random: Mutex<Random>,
    alarm: Alarm,
}

impl Delayed {
    /// Equal seeds give equal latencies.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, profile: Profile, seed: u64) -> Self {
        Delayed {
            store,
            profile,
            random: Mutex::new(Random::new(seed)),
            alarm: Alarm::new(),
        }
    }

    /// Half of the latency before the request, half after it.
    async fn half(&self, latency: Latency, bytes: u64) {
        let whole = latency.draw(&mut self.random.lock());
        let time = whole / 2 + self.profile.transfer(bytes);
        if !time.is_zero() {
            self.alarm.sleep_until(Instant::now() + time).await;
        }
    }
}

impl fmt::Debug for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delayed")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Delayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, with a PUT after {:?}",
            self.store, self.profile.put.median
        )
    }
}

#[async_trait]
impl ObjectStore for Delayed {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.half(self.profile.put, payload.content_length() as u64)
            .await;
        let result = self.store.put_opts(location, payload, options).await;
        self.half(self.profile.put, 0).await;
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.half(self.profile.get, 0).await;
        let result = self.store.get_opts(location, options).await;
        let bytes = result
            .as_ref()
            .map_or(0, |found| found.range.end - found.range.start);
        self.half(self.profile.get, bytes).await;
        result
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix).boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.half(self.profile.list, 0).await;
        let result = self.store.list_with_delimiter(prefix).await;
        self.half(self.profile.list, 0).await;
        result
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
