//! G5: after a failed write or sync the handle acknowledges nothing, everyone who waits is
//! told, and a reopen stores anew what the page cache may show and the disk lack.

use std::time::Duration;

use wal_core::sim::SimStorage;
use wal_core::{Compression, Durability, Error, Lsn, Options, Wal};

fn quiet() -> Options {
    Options {
        watermark_delay: None,
        ..Options::default()
    }
}

#[test]
fn nothing_is_acknowledged_after_a_failed_sync_and_every_waiter_wakes() {
    let disk = SimStorage::new(7);
    let (wal, _) = Wal::open(disk.clone(), quiet()).unwrap();
    wal.commit("before").unwrap();
    disk.fail_after(0);
    let waiters: Vec<_> = (0..8)
        .map(|_| {
            let wal = wal.clone();
            std::thread::spawn(move || wal.commit("during"))
        })
        .collect();
    for waiter in waiters {
        let result = waiter.join().unwrap();
        assert!(matches!(result, Err(Error::Poisoned { durable, .. }) if durable == Lsn::new(1)));
    }
    assert!(matches!(wal.append("after"), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(wal.durable(), Lsn::new(1));
    let read: Vec<_> = wal
        .reader(Lsn::ZERO)
        .unwrap()
        .map(|record| record.unwrap().payload)
        .collect();
    assert_eq!(read, ["before"], "what is durable stays readable");
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));
}

#[test]
fn a_tail_that_waits_is_told() {
    let disk = SimStorage::new(7);
    let (wal, _) = Wal::open(disk.clone(), quiet()).unwrap();
    let mut tail = wal.tail(Lsn::ZERO).unwrap();
    let waiting = std::thread::spawn(move || tail.next_blocking());
    std::thread::sleep(Duration::from_millis(20));
    disk.fail_after(0);
    assert!(wal.commit("lost").is_err());
    let result = waiting.join().unwrap();
    assert!(matches!(result, Some(Err(Error::Poisoned { .. }))));
}

#[test]
fn a_reopen_syncs_what_it_shows() {
    let disk = SimStorage::new(11);
    let (wal, _) = Wal::open(disk.clone(), quiet()).unwrap();
    wal.commit("durable").unwrap();
    // Accepted, then the sync fails: visible in the page cache, not on the medium.
    wal.append_with("doubtful", Durability::Accepted)
        .unwrap()
        .wait()
        .unwrap();
    disk.fail_after(0);
    assert!(wal.sync().is_err());
    drop(wal);
    disk.kill();
    let (wal, recovery) = Wal::open(disk.clone(), quiet()).unwrap();
    assert_eq!(recovery.end, Lsn::new(2));
    assert_eq!(
        recovery.unconfirmed.unwrap().kept,
        2 - recovery.durable.get()
    );
    // It was shown, so it must survive the power cut that follows, for every fate of
    // what was never synced.
    drop(wal);
    disk.crash();
    let (wal, recovery) = Wal::open(disk, quiet()).unwrap();
    assert_eq!(recovery.end, Lsn::new(2));
    let read: Vec<_> = wal
        .reader(Lsn::ZERO)
        .unwrap()
        .map(|record| record.unwrap().payload)
        .collect();
    assert_eq!(read, ["durable", "doubtful"]);
}

#[test]
fn a_copy_that_a_crash_cuts_short_does_not_replace_the_original() {
    // G1 across a crash during recovery, at every one of recovery's writes and syncs.
    for operations in 0..8 {
        for seed in 0..50 {
            let disk = SimStorage::new(seed);
            let (wal, _) = Wal::open(disk.clone(), quiet()).unwrap();
            for n in 0..5u8 {
                wal.append_with(vec![n; 9000], Durability::Accepted)
                    .unwrap()
                    .wait()
                    .unwrap();
            }
            wal.sync().unwrap(); // acknowledged, but no later frame says so
            disk.kill();
            drop(wal);
            disk.fail_after(operations);
            let first = Wal::open(disk.clone(), quiet()).map(|_| ());
            disk.crash();
            let (wal, recovery) = Wal::open(disk.clone(), quiet())
                .unwrap_or_else(|error| panic!("{error}; first open: {first:?}"));
            assert_eq!(
                recovery.end,
                Lsn::new(5),
                "seed {seed}, operation {operations}"
            );
            assert_eq!(
                wal.reader(Lsn::ZERO).unwrap().filter(Result::is_ok).count(),
                5
            );
        }
    }
}

#[test]
fn kills_in_a_row_leave_no_empty_segments() {
    let disk = SimStorage::new(3);
    for round in 0..20 {
        let (wal, recovery) = Wal::open(disk.clone(), quiet()).unwrap();
        if round < 3 {
            wal.commit("one").unwrap();
        }
        assert_eq!(recovery.end, Lsn::new(round.min(3)));
        disk.kill();
        drop(wal);
    }
    assert!(disk.segments().len() <= 4, "{:?}", disk.segments());
}

/// That the log was closed may stand in a segment of its own, whose sync failed: it is visible,
/// and gone after a crash. Nothing may continue it.
#[test]
fn a_close_that_failed_is_not_continued() {
    let options = || Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        frame_bytes: 1 << 20,
        linger: Duration::from_secs(10),
        compression: Compression::None,
        ..quiet()
    };
    let mut alone = 0;
    for records in 50..66 {
        let disk = SimStorage::new(5);
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        for _ in 0..records {
            drop(wal.append(vec![1; 1000]).unwrap());
        }
        wal.sync().unwrap(); // one frame, which may fill its segment
        let before = disk.segments().len();
        disk.fail_after(0);
        wal.close().unwrap_err();
        alone += disk.segments().len() - before;
        disk.kill();
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        drop(wal.append("later").unwrap());
        wal.sync().unwrap();
        disk.crash();
        drop(wal);
        let (wal, _) = Wal::open(disk, options()).unwrap();
        let read: Result<Vec<_>, _> = wal.reader(Lsn::ZERO).unwrap().collect();
        assert_eq!(read.unwrap().len(), records + 1);
    }
    assert!(alone > 0, "no close stood in a segment of its own");
}
