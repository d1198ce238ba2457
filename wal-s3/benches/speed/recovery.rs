//! Opening a log that another process has left, and reading it from its beginning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wal_core::{Lsn, Wal};
use wal_s3::sim::{Latency, Profile, SimStore};
use wal_s3::{Hedge, ObjectStorage, Options, Requests};

use crate::load::{in_words, open};

/// Every request takes exactly as long: counts round trips.
pub(crate) const TWENTY_MILLIS: Profile = Profile {
    put: FLAT,
    get: FLAT,
    list: FLAT,
    delete: FLAT,
    bytes_per_second: 0,
};
const FLAT: Latency = Latency {
    median: Duration::from_millis(20),
    p99: Duration::from_millis(20),
};

/// How long it took, and what was asked of the store.
type Once = (Duration, Requests);

/// How a writer left its log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Closed,
    Killed,
}

/// A bucket with a log that a writer has left, and what was seen of those who opened it.
pub(crate) struct Recovery {
    bucket: SimStore,
    bytes: usize,
    took: Vec<Duration>,
    /// Objects in the log.
    pub(crate) objects: u64,
    /// Those of the last time.
    pub(crate) requests: Requests,
}

impl Recovery {
    pub(crate) fn of(mebibytes: usize, profile: Profile, left: Left) -> Recovery {
        let bucket = SimStore::new(1).with_profile(profile);
        let writer = bucket.client("writer");
        let (wal, _) = open(writer.clone(), Hedge::Off);
        let payload = Bytes::from(vec![7u8; 1 << 10]);
        for _ in 0..mebibytes << 10 {
            drop(wal.append(payload.clone()).expect("an append")); // all are durable after the sync
        }
        wal.sync().expect("a sync");
        match left {
            Left::Closed => wal.close().expect("a close"),
            Left::Killed => {
                writer.kill();
                std::mem::forget(wal);
            }
        }
        let keys = bucket.keys();
        let objects = keys.iter().filter(|(key, _)| key.starts_with("log/log/"));
        Recovery {
            objects: objects.count() as u64,
            bucket,
            bytes: mebibytes << 20,
            took: Vec::new(),
            requests: Requests::default(),
        }
    }

    /// Each time in a bucket of its own.
    pub(crate) fn each(&mut self, times: u64, what: fn(&Recovery, SimStore) -> Once) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..times {
            let (took, requests) = what(self, self.bucket.fork(self.took.len() as u64));
            self.took.push(took);
            self.requests = requests;
            total += took;
        }
        total
    }

    /// Until the first append is durable.
    pub(crate) fn reopen(&self, bucket: SimStore) -> Once {
        let begun = Instant::now();
        let (wal, storage) = open(bucket.client("successor"), Hedge::Off);
        wal.commit("first").expect("a commit");
        (begun.elapsed(), storage.requests())
    }

    /// Until all is read, and verified.
    pub(crate) fn replay(&self, bucket: SimStore) -> Once {
        let begun = Instant::now();
        let storage =
            ObjectStorage::new(Arc::new(bucket.client("reader")), "log", Options::default());
        let storage = storage.expect("a storage");
        let view = Wal::open_read_only(storage.clone()).expect("a log");
        let records = view.reader(Lsn::ZERO).expect("a reader");
        let read: usize = records
            .map(|record| record.expect("a record").payload.len())
            .sum();
        assert_eq!(read, self.bytes);
        (begun.elapsed(), storage.requests())
    }

    pub(crate) fn median_millis(&self) -> f64 {
        let mut took = self.took.clone();
        took.sort_unstable();
        took.get(took.len() / 2)
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3
    }

    pub(crate) fn requests_in_words(&self) -> String {
        in_words(&self.requests)
    }
}
