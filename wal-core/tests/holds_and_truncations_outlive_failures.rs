//! G4, G5, G10: named holds and truncations over torn first appends, failed syncs and kills. Each of
//! these once cost a hold, or the log did not open: random histories found them (CRASH_MODEL.md,
//! *Found by it, and mended*).

use std::collections::BTreeMap;

use wal_core::sim::SimStorage;
use wal_core::{Error, Lsn, Options, Recovery, Wal};

/// As many fates of what was not synced.
const SEEDS: u64 = 30;

fn open(disk: &SimStorage) -> (Wal, Recovery) {
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        watermark_delay: None,
        ..Options::default()
    };
    let opened = Wal::open(disk.clone(), options);
    opened.unwrap_or_else(|error| panic!("the log does not open: {error}"))
}

/// Three segments, the first of which is held.
fn held(disk: &SimStorage) -> Wal {
    let (wal, _) = open(disk);
    wal.commit("first").unwrap();
    wal.set_hold("follower", Lsn::ZERO).unwrap();
    fill(&wal, 5);
    wal
}

fn fill(wal: &Wal, records: u64) {
    for _ in 0..records {
        wal.commit(vec![7; 25_000]).unwrap();
    }
}

fn holds(from: u64) -> BTreeMap<String, Lsn> {
    BTreeMap::from([("follower".to_owned(), Lsn::new(from))])
}

/// All that is held can be read.
fn read_held(wal: &Wal) {
    let from = wal.named_holds()["follower"];
    let read: Result<Vec<_>, _> = wal.reader(from).unwrap().collect();
    assert_eq!(read.unwrap().len() as u64, wal.end().get() - from.get());
}

#[test]
fn a_torn_first_append_does_not_take_the_holds_along() {
    for (seed, operations) in (0..SEEDS).flat_map(|seed| (0..6).map(move |it| (seed, it))) {
        let disk = SimStorage::new(seed);
        let wal = held(&disk);
        disk.fail_after(operations);
        let failed = (0..6).find_map(|_| wal.commit(vec![8; 25_000]).err());
        assert!(matches!(failed, Some(Error::Poisoned { .. })));
        let promised = wal.durable();
        disk.crash(); // what failed is there in part
        drop(wal);
        let (wal, recovery) = open(&disk);
        assert_eq!(recovery.holds, holds(0), "seed {seed}, {operations}");
        assert!(recovery.end >= promised);
        read_held(&wal);
    }
}

#[test]
fn a_first_append_whose_sync_failed_is_not_continued() {
    for (seed, operations) in (0..SEEDS).flat_map(|seed| (0..6).map(move |it| (seed, it))) {
        let disk = SimStorage::new(seed);
        let wal = held(&disk);
        disk.fail_after(operations);
        let failed = (0..6).find_map(|_| wal.commit(vec![8; 25_000]).err());
        assert!(matches!(failed, Some(Error::Poisoned { .. })));
        let promised = wal.durable();
        drop(wal);
        disk.kill(); // the page cache still shows it
        let (wal, recovery) = open(&disk);
        assert!(recovery.end >= promised);
        fill(&wal, 3);
        let promised = wal.durable();
        disk.crash();
        drop(wal);
        let (wal, recovery) = open(&disk);
        assert_eq!(recovery.holds, holds(0), "seed {seed}, {operations}");
        assert!(recovery.end >= promised, "seed {seed}, {operations}");
        read_held(&wal);
    }
}

#[test]
fn a_change_of_a_hold_that_fails_lets_nothing_go() {
    for (seed, operations) in (0..SEEDS).flat_map(|seed| (0..3).map(move |it| (seed, it))) {
        let disk = SimStorage::new(seed);
        let wal = held(&disk);
        wal.release(wal.durable()).unwrap();
        disk.fail_after(operations);
        if wal.set_hold("follower", wal.durable()).is_ok() {
            continue;
        }
        assert!(wal.reader(Lsn::ZERO).is_ok(), "what the hold kept is gone");
        disk.crash();
        drop(wal);
        let (wal, _) = open(&disk);
        read_held(&wal);
    }
}

#[test]
fn a_truncation_to_where_a_segment_ends_stays() {
    for (seed, operations) in (0..SEEDS).flat_map(|seed| (0..5).map(move |it| (seed, it))) {
        let disk = SimStorage::new(seed);
        let (wal, _) = open(&disk);
        fill(&wal, 5);
        let to = wal.newest_segment();
        assert!(to < wal.end());
        disk.fail_after(operations);
        let truncated = wal.truncate(to);
        disk.kill();
        drop(wal);
        let (wal, recovery) = open(&disk);
        let end = recovery.end;
        assert!(end == to || truncated.is_err(), "seed {seed}, {operations}");
        // Each open after a kill notes anew what may not be durable.
        disk.kill();
        drop(wal);
        let (wal, recovery) = open(&disk);
        assert_eq!(recovery.end, end, "seed {seed}, {operations}");
        disk.crash();
        drop(wal);
        assert_eq!(open(&disk).1.end, end, "seed {seed}, {operations}");
    }
}

#[test]
fn a_hold_that_seems_to_be_gone_is_gone_once_it_was_removed() {
    let mut seemed = 0;
    for (seed, operations) in (0..SEEDS).flat_map(|seed| (0..3).map(move |it| (seed, it))) {
        let disk = SimStorage::new(seed);
        let wal = held(&disk);
        disk.limit_segments(0);
        let wal = poison(wal, &disk, 0, |wal| {
            drop(wal.commit("its recovery takes the reserve"))
        });
        let wal = poison(wal, &disk, operations, |wal| {
            drop(wal.remove_hold("follower"))
        });
        // There was no space for recovery to note anew what it found.
        seemed += u32::from(wal.named_holds().is_empty());
        disk.limit_segments(usize::MAX);
        wal.remove_hold("follower").unwrap();
        disk.crash();
        drop(wal);
        let (_, recovery) = open(&disk);
        assert!(
            recovery.holds.is_empty(),
            "seed {seed}, {operations}: it came back"
        );
    }
    assert!(seemed > 0);
}

/// Lets this fail, and opens the log as the next process finds it.
fn poison(wal: Wal, disk: &SimStorage, operations: u64, how: impl FnOnce(&Wal)) -> Wal {
    disk.fail_after(operations);
    how(&wal);
    drop(wal);
    disk.kill();
    open(disk).0
}
