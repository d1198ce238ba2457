//! A read is one call to the file system; files stay open; a hostile range allocates nothing
//! beyond what is there (G8, G9).

mod support;

use std::future::Future;
use std::ops::Range;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use support::{LOG, Oracle, open};
use wal_core::{Durability, IoFuture, SegmentId, Storage, StorageError};
use wal_fs::FileStorage;
use wal_fs::sim::{Metadata, SimDisk};

fn now<T>(future: IoFuture<T>) -> Result<T, StorageError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("files block"),
    }
}

fn read(storage: &FileStorage, segment: u64, range: Range<u64>) -> Bytes {
    now(storage.read(SegmentId::new(segment), range)).unwrap()
}

/// A log of about 14 segments of 64 KiB.
fn log() -> (SimDisk, FileStorage, u64) {
    let disk = SimDisk::new(1, Metadata::Journalled);
    let (wal, _) = open(&disk).unwrap();
    let mut oracle = Oracle::default();
    for _ in 0..28 {
        oracle.append(&wal, &[15_000], Durability::Durable);
    }
    wal.close().unwrap();
    let storage = disk.storage(LOG).unwrap();
    let segments = now(storage.list()).unwrap().len() as u64;
    assert!((10..=16).contains(&segments), "{segments}");
    (disk, storage, segments)
}

#[test]
fn random_reads_over_several_segments_open_each_once_and_ask_for_no_length() {
    let (disk, storage, segments) = log();
    let before = ["open", "length", "stat", "read"].map(|kind| disk.calls_of(kind));
    for n in 0..500u64 {
        let at = n * 4096 % (40 << 10);
        assert_eq!(read(&storage, n % segments + 1, at..at + 1000).len(), 1000);
    }
    let after = ["open", "length", "stat", "read"].map(|kind| disk.calls_of(kind));
    let [opens, lengths, stats, reads] = std::array::from_fn(|it| after[it] - before[it]);
    assert_eq!((opens, lengths, stats, reads), (segments, 0, 0, 500));
}

#[test]
fn large_windows_ask_for_the_length_once() {
    let (disk, storage, _) = log();
    let before = disk.calls_of("length");
    for _ in 0..10 {
        assert_eq!(read(&storage, 1, 0..64 << 10).len(), 64 << 10);
        assert_eq!(
            read(&storage, 1, 4096..(64 << 10) - 1).len(),
            (60 << 10) - 1
        );
    }
    assert!(disk.calls_of("length") <= before + 1);
}

#[test]
fn hostile_ranges_give_what_is_there() {
    let (_, storage, _) = log();
    assert_eq!(read(&storage, 1, 0..u64::MAX).len(), 64 << 10);
    assert_eq!(
        read(&storage, 1, 60_000..u64::MAX).len(),
        (64 << 10) - 60_000
    );
    for start in [64 << 10, 1 << 40, u64::MAX - 1, u64::MAX] {
        assert!(read(&storage, 1, start..u64::MAX).is_empty());
    }
    #[expect(clippy::reversed_empty_ranges)]
    let backwards = read(&storage, 1, 5..3);
    assert!(backwards.is_empty());
}
