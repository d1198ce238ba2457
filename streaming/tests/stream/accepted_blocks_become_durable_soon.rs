//! S9: an arm that acknowledges before the sync is synced all the same, a little later,
//! so that a driver sees its records while the receiver runs on.

use std::time::{Duration, Instant};

use tempfile::tempdir;
use wal_streaming::{Acknowledge, RecordRef, Source, Store, WalSource, WalStore};

use crate::support::{numbers, open_log};

#[test]
fn the_driver_sees_them_without_another_append() {
    let dir = tempdir().unwrap();
    let wal = open_log(dir.path());
    let mut store = WalStore::open(wal.clone(), Acknowledge::Accepted).unwrap();
    let mut source = WalSource::new(wal, "test");
    let mut block = store.begin();
    block.push(RecordRef {
        partition: &numbers(),
        offset: 0,
        key: None,
        value: b"one",
    });
    store.store(block).unwrap().wait().unwrap();

    let started = Instant::now();
    let ranges = source
        .plan(&Default::default(), 10, Duration::from_secs(10))
        .unwrap();
    assert_eq!((ranges[0].from, ranges[0].until), (0, 2));
    assert!(started.elapsed() < Duration::from_secs(5));
}
