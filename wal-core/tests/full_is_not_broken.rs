//! G7: without space an append fails before its first byte, and nothing is poisoned: reading,
//! holding, releasing, closing and opening go on, and appending works again when space
//! returns. Crashes in a row at zero free bytes consume no more.

use wal_core::sim::SimStorage;
use wal_core::{Durability, Error, Lsn, Options, Wal};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

/// Appends until there is no space; tells how many records are in the log.
fn fill(wal: &Wal) -> u64 {
    loop {
        match wal.commit(vec![1; 3000]) {
            Ok(_) => {}
            Err(Error::Full(_)) => return wal.end().get(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn appending_works_again_when_records_are_released() {
    let disk = SimStorage::new(1);
    disk.limit_segments(3);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let full = fill(&wal);
    assert!(full > 20);
    assert_eq!(wal.durable(), Lsn::new(full), "what failed took no LSN");
    assert!(matches!(wal.commit("still full"), Err(Error::Full(_))));
    assert_eq!(
        wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count() as u64,
        full
    );

    wal.release(Lsn::new(full - 1)).unwrap();
    for _ in 0..500 {
        if disk.segments().len() < 3 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(wal.commit("fits again").unwrap().start, Lsn::new(full));
    wal.close().unwrap();
    let (_, recovery) = Wal::open(disk, options()).unwrap();
    assert!(recovery.clean);
    assert_eq!(recovery.end, Lsn::new(full + 1));
}

#[test]
fn everyone_who_waits_is_told_and_nobody_is_told_twice() {
    let disk = SimStorage::new(2);
    disk.limit_segments(2);
    let (wal, _) = Wal::open(disk, options()).unwrap();
    let stored: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..50)
                        .filter(|_| wal.commit(vec![2; 3000]).is_ok())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap() as u64)
            .sum()
    });
    assert_eq!(wal.durable(), Lsn::new(stored));
    assert_eq!(wal.end(), Lsn::new(stored));
    assert_eq!(
        wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count() as u64,
        stored
    );
    assert!(wal.sync().is_ok(), "the handle is not poisoned");
}

#[test]
fn a_cancelled_commit_stays_cancelled_when_its_lsn_is_used_again() {
    let disk = SimStorage::new(3);
    disk.limit_segments(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let full = fill(&wal);
    let cancelled = wal.append(vec![3; 9000]).unwrap();
    assert_eq!(cancelled.lsns().start, Lsn::new(full));
    assert!(matches!(wal.sync(), Err(Error::Full(_)) | Ok(_)));
    disk.limit_segments(9);
    while wal.durable() < Lsn::new(full + 3) {
        wal.commit(vec![4; 3000]).unwrap();
    }
    assert!(!cancelled.is_ready());
    assert!(matches!(cancelled.wait(), Err(Error::Full(_))));
}

#[test]
fn opening_and_crashing_without_space_loses_nothing_and_consumes_no_more() {
    for seed in 0..40 {
        let disk = SimStorage::new(seed);
        disk.limit_segments(2);
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        let mut end = fill(&wal);
        // Acknowledged, and attested by nothing: recovery must copy it.
        disk.crash();
        drop(wal);
        for round in 0..12 {
            let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
            assert_eq!(recovery.end, Lsn::new(end), "seed {seed}, round {round}");
            let read = wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count() as u64;
            assert_eq!(read, end);
            match wal
                .append_with("one more", Durability::Durable)
                .unwrap()
                .wait()
            {
                Ok(_) => end += 1,
                Err(Error::Full(_)) => {}
                Err(error) => panic!("{error}"),
            }
            assert!(disk.segments().len() <= 3, "{:?}", disk.segments());
            disk.crash();
            drop(wal);
        }
    }
}
