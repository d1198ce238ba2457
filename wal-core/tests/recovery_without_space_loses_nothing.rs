//! G7, G5: where recovery finds no space at all, neither free nor kept back, it either does
//! without or fails with `Full`; nothing is lost, and with space it goes on.

use wal_core::sim::SimStorage;
use wal_core::{Durability, Error, Lsn, Options, Recovery, Wal};

fn options(segment_bytes: u64) -> Options {
    Options {
        segment_bytes,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

fn open(disk: &SimStorage) -> Result<(Wal, Recovery), Error> {
    Wal::open(disk.clone(), options(64 << 10))
}

fn payload(lsn: u64) -> Vec<u8> {
    vec![lsn.to_le_bytes()[0]; 3000]
}

/// No other segment finds room, not even for recovery.
fn fill_up(disk: &SimStorage) -> SimStorage {
    let full = disk.fork(); // knows of no reserve
    full.limit_segments(full.segments().len());
    full
}

fn assert_holds(wal: &Wal, end: u64) {
    let mut next = 0;
    for record in wal.reader(Lsn::ZERO).unwrap() {
        assert_eq!(record.unwrap().payload, payload(next));
        next += 1;
    }
    assert_eq!(next, end);
}

fn assert_full(disk: &SimStorage) {
    let before = disk.segments();
    let refused = open(disk).map(|(_, recovery)| recovery);
    assert!(
        matches!(refused, Err(Error::Full(_) | Error::Storage(_))),
        "{refused:?}"
    );
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("space"), "{text}");
    assert_eq!(disk.segments(), before, "it changed something");
}

/// R4.
#[test]
fn named_holds_stay_where_they_are() {
    let disk = SimStorage::new(1);
    let (wal, _) = open(&disk).unwrap();
    for lsn in 0..4 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.set_hold("consumer", Lsn::new(2)).unwrap();
    disk.kill();
    drop(wal);
    let full = fill_up(&disk);
    let before = full.segments();
    for _ in 0..3 {
        let (wal, recovery) = open(&full).unwrap();
        assert_eq!(recovery.holds["consumer"], Lsn::new(2));
        assert_eq!(wal.named_holds(), recovery.holds);
        assert_holds(&wal, 4);
        full.kill();
        drop(wal);
        assert_eq!(full.segments(), before);
    }
    let (wal, _) = open(&full).unwrap();
    assert!(matches!(wal.commit(payload(4)), Err(Error::Full(_))));
    let refused = wal.set_hold("other", Lsn::ZERO);
    assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    full.limit_segments(9);
    wal.commit(payload(4)).unwrap();
    full.crash();
    drop(wal);
    let (wal, recovery) = open(&full).unwrap();
    assert_eq!(recovery.holds["consumer"], Lsn::new(2));
    assert_eq!(recovery.holds.len(), 1);
    assert_holds(&wal, 5);
}

/// R5: also twice in a row, where the first time used what was kept back.
#[test]
fn a_truncation_waits_for_space() {
    let disk = SimStorage::new(1);
    let (wal, _) = open(&disk).unwrap();
    for lsn in 0..6 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.truncate(Lsn::new(4)).unwrap();
    disk.kill();
    drop(wal);
    let full = fill_up(&disk);
    assert_full(&full);
    assert_full(&full);
    // With one that was kept back it opens once.
    disk.limit_segments(disk.segments().len());
    let (wal, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.end, Lsn::new(4));
    assert_holds(&wal, 4);
    disk.kill();
    drop(wal);
    assert_full(&disk);
    for disk in [full, disk] {
        disk.limit_segments(9);
        let (wal, recovery) = open(&disk).unwrap();
        assert_eq!(recovery.end, Lsn::new(4), "what was given up came back");
        wal.commit(payload(4)).unwrap();
        disk.crash();
        drop(wal);
        let (wal, _) = open(&disk).unwrap();
        assert_holds(&wal, 5);
    }
}

/// *Full disks*: killed, or failed, at each of recovery's writes and syncs.
#[test]
fn a_recovery_that_was_cut_short_waits_for_space() {
    let mut refused = 0;
    for operations in 0..5 {
        let disk = SimStorage::new(1);
        let (wal, _) = open(&disk).unwrap();
        for lsn in 0..9 {
            wal.append_with(payload(lsn), Durability::Accepted)
                .unwrap()
                .wait()
                .unwrap();
        }
        disk.kill();
        drop(wal);
        disk.fail_after(operations);
        drop(open(&disk));
        disk.kill();
        let full = fill_up(&disk);
        match open(&full) {
            Ok((wal, _)) => assert_holds(&wal, 9),
            Err(_) => {
                refused += 1;
                assert_full(&full);
                full.limit_segments(9);
                let (wal, recovery) = open(&full).unwrap();
                assert_eq!(recovery.end, Lsn::new(9));
                assert_holds(&wal, 9);
            }
        }
    }
    assert!(refused > 0, "the test is about being refused");
}

/// *Full disks*: one segment is kept back, and the copy needs more.
#[test]
fn a_copy_that_outgrows_the_reserve_waits_for_space() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options(256 << 10)).unwrap();
    for lsn in 0..40 {
        wal.append_with(payload(lsn), Durability::Accepted)
            .unwrap()
            .wait()
            .unwrap();
    }
    assert_eq!(disk.segments().len(), 1);
    disk.kill();
    drop(wal);
    disk.limit_segments(1);
    for _ in 0..3 {
        let refused = open(&disk).map(|(_, recovery)| recovery);
        assert!(refused.unwrap_err().to_string().contains("space"));
    }
    disk.limit_segments(9);
    let (wal, recovery) = open(&disk).unwrap();
    assert_eq!(recovery.end, Lsn::new(40));
    assert_holds(&wal, 40);
}

/// G10: a change that was refused for want of space is not stored later, with a new segment.
#[test]
fn a_change_of_holds_that_was_refused_does_not_happen_later() {
    let disk = SimStorage::new(1);
    let (wal, _) = open(&disk).unwrap();
    for lsn in 0..4 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.set_hold("kept", Lsn::new(1)).unwrap();
    wal.set_hold("moved", Lsn::new(1)).unwrap();
    let holds = wal.named_holds();
    wal.close().unwrap();
    let full = fill_up(&disk);
    let (wal, _) = open(&full).unwrap(); // its first frame needs a segment
    for refused in [
        wal.remove_hold("kept"),
        wal.set_hold("moved", Lsn::new(4)),
        wal.set_hold("new", Lsn::new(2)),
    ] {
        assert!(matches!(refused, Err(Error::Full(_))), "{refused:?}");
    }
    assert_eq!(wal.named_holds(), holds);
    full.limit_segments(9);
    wal.commit(payload(4)).unwrap();
    assert_eq!(wal.named_holds(), holds);
    full.crash();
    drop(wal);
    let (wal, recovery) = open(&full).unwrap();
    assert_eq!(recovery.holds, holds);
    wal.release(Lsn::new(5)).unwrap();
    assert_eq!(wal.oldest(), Lsn::new(1));
}
