//! A simulated bucket, and the processes that use it.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wal_core::SegmentId;
use wal_core::conformance::Place;
use wal_s3::sim::SimStore;
use wal_s3::{ObjectStorage, Options};

/// One log's place: a prefix in a simulated bucket.
pub struct Bucket {
    pub store: SimStore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: Vec<SimStore>,
    take_over: bool,
}

/// Impatient, so that a process that was killed is soon done with.
pub fn options() -> Options {
    Options {
        segment_objects: 16,
        request_timeout: Duration::from_millis(200),
        retry_for: Duration::from_millis(100),
        close_within: Duration::from_millis(500),
        ..Options::default()
    }
}

/// Small, so that segments roll and frames are many.
pub fn core_options() -> wal_core::Options {
    wal_core::Options {
        segment_bytes: 64 << 10,
        frame_bytes: 4 << 10,
        append_bytes: 8 << 10,
        queue_bytes: 64 << 10,
        ..wal_core::Options::default()
    }
}

impl Bucket {
    pub fn new(seed: u64) -> Self {
        Self::of(SimStore::new(seed))
    }

    pub fn of(store: SimStore) -> Self {
        Bucket {
            store,
            state: Mutex::default(),
        }
    }

    /// Another process.
    pub fn client(&self) -> SimStore {
        let mut state = self.state.lock();
        let client = self
            .store
            .client(&format!("process {}", state.clients.len()));
        state.clients.push(client.clone());
        client
    }

    pub fn open_with(&self, options: Options) -> ObjectStorage {
        ObjectStorage::new(Arc::new(self.client()), "logs/one", options).unwrap()
    }

    /// Whether an object has frames of this segment; docs/FORMAT.md says where its header tells.
    fn holds(&self, key: &str, segment: SegmentId) -> bool {
        let bytes = self.store.raw(key).unwrap_or_default();
        let frames = matches!(bytes.get(10), Some(1 | 5));
        frames && bytes.get(48..56) == Some(&segment.get().to_le_bytes())
    }

    pub fn kill_all(&self) {
        let mut state = self.state.lock();
        state.take_over = true;
        state.clients.drain(..).for_each(|client| client.kill());
    }
}

impl Place for Bucket {
    type Storage = ObjectStorage;

    fn open(&self) -> ObjectStorage {
        let take_over = self.state.lock().take_over;
        self.open_with(Options {
            take_over,
            ..options()
        })
    }

    fn kill(&self) -> bool {
        self.kill_all();
        true
    }

    fn crash(&self) -> bool {
        self.kill()
    }

    fn lose(&self, segment: SegmentId) -> bool {
        let keys = self.store.keys().into_iter().map(|(key, _)| key);
        let of_segment: Vec<String> = keys.filter(|key| self.holds(key, segment)).collect();
        of_segment.iter().for_each(|key| {
            self.store.remove(key);
        });
        !of_segment.is_empty()
    }

    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        let storage = self.open();
        let found = wal_core::Storage::read(&storage, segment, offset..offset + 1);
        futures_util::FutureExt::now_or_never(found);
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while std::time::Instant::now() < deadline {
            if let Some((key, at)) = storage.object_of(segment, offset) {
                return self.store.damage(&key, usize::try_from(at).unwrap(), 1);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}
