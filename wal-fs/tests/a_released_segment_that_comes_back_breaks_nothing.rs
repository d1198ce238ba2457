//! A directory sync that failed, on a file system without a journal, can bring back a segment
//! whose deletion was reported, while a later one stays deleted. Everything in it was released.

use std::fs;

use wal_core::{Lsn, Options, Wal};
use wal_fs::FileStorage;

#[test]
fn the_log_opens_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let open = || Wal::open(FileStorage::open(dir.path()).unwrap(), options());
    let (wal, _) = open().unwrap();
    for _ in 0..12 {
        wal.commit(vec![1; 15_000]).unwrap();
    }
    let first = dir.path().join("000000000001-00000000000000000000.wal");
    let kept = fs::read(&first).unwrap();
    let newest = wal.newest_segment();
    wal.release(newest).unwrap();
    while first.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    wal.close().unwrap();
    fs::write(&first, kept).unwrap();
    let (wal, _) = open().unwrap();
    assert_eq!(wal.end(), Lsn::new(12));
    assert!(wal.oldest() <= newest);
}
