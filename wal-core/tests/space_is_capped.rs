//! G8: with a cap, a log that nobody releases keeps its newest segments only; what is held or
//! being read stays.

use wal_core::sim::SimStorage;
use wal_core::{Lsn, Options, Wal};

const SEGMENT: u64 = 64 << 10;

/// A log of 200 records of which nobody releases any, and how many segments it has.
fn filled(retain_bytes: Option<u64>, hold: bool) -> (usize, Wal) {
    let disk = SimStorage::new(1);
    let options = Options {
        segment_bytes: SEGMENT,
        append_bytes: 32 << 10,
        retain_bytes,
        ..Options::default()
    };
    let (wal, _) = Wal::open(disk.clone(), options).unwrap();
    let held = hold.then(|| wal.hold(Lsn::ZERO).unwrap());
    for _ in 0..200 {
        wal.commit(vec![1; 5000]).unwrap();
    }
    wal.sync().unwrap();
    assert_eq!(wal.oldest() == Lsn::ZERO, hold || retain_bytes.is_none());
    let segments = disk.segments().len();
    drop(held);
    (segments, wal)
}

#[test]
fn only_where_it_is_asked_for() {
    assert!(filled(None, false).0 > 15);
}

#[test]
fn by_whole_segments() {
    let (segments, wal) = filled(Some(5 * SEGMENT), false);
    assert!((4..=6).contains(&segments), "{segments}");
    let first = wal.reader(wal.oldest()).unwrap().next().unwrap().unwrap();
    assert_eq!(first.lsn, wal.oldest());
}

#[test]
fn not_over_a_hold() {
    assert!(filled(Some(5 * SEGMENT), true).0 > 15);
}
