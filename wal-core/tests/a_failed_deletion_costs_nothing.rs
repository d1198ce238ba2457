//! G7, G1: a deletion that fails is told by a later `release`, poisons nothing, costs no record
//! that was not released, and is tried again.

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use support::Odd;
use wal_core::sim::SimStorage;
use wal_core::{Error, Lsn, Options, Wal};

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

fn fill(wal: &Wal, records: u64) {
    for _ in 0..records {
        wal.commit(wal.end().get().to_le_bytes().repeat(400))
            .unwrap();
    }
}

fn read(wal: &Wal) {
    let mut next = wal.oldest();
    for record in wal.reader(next).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.lsn, next);
        assert_eq!(record.payload[..8], next.get().to_le_bytes());
        next = next.plus(1);
    }
    assert_eq!(next, wal.durable());
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn it_is_told_and_tried_again() {
    let disk = SimStorage::new(1);
    let storage = Odd::new(&disk);
    let keeps = storage.keeps.clone();
    let (wal, _) = Wal::open(storage, options()).unwrap();
    fill(&wal, 60);
    keeps.store(true, Ordering::SeqCst);
    let released = Lsn::new(40);
    wal.release(released).unwrap();
    let mut told = None;
    wait("the failure was not told", || {
        told = wal.release(released).err();
        told.is_some()
    });
    assert!(matches!(told, Some(Error::Storage(_))), "{told:?}");
    assert!(told.unwrap().to_string().contains("it does not go"));
    wal.release(released).unwrap(); // once
    let held = disk.segments();
    assert_eq!(held[0].0.get(), 1);

    // Nothing is broken: appending, rolling and reading go on.
    fill(&wal, 5);
    assert_eq!(wal.oldest(), released);
    read(&wal);
    keeps.store(false, Ordering::SeqCst);
    fill(&wal, 20);
    wal.release(Lsn::new(60)).unwrap();
    wait("it was not tried again", || disk.segments()[0].0.get() > 3);
    read(&wal);
    wal.close().unwrap();
    let (wal, recovery) = Wal::open(disk, options()).unwrap();
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(60), Lsn::new(85))
    );
    read(&wal);
}

/// What is still there after a kill was released, and is deleted by the next writer.
#[test]
fn a_kill_before_it_is_tried_again_loses_nothing() {
    let disk = SimStorage::new(1);
    let storage = Odd::new(&disk);
    let keeps = storage.keeps.clone();
    let (wal, _) = Wal::open(storage, options()).unwrap();
    fill(&wal, 60);
    keeps.store(true, Ordering::SeqCst);
    wal.release(Lsn::new(40)).unwrap();
    wait("the failure was not told", || {
        wal.release(Lsn::new(40)).is_err()
    });
    disk.crash();
    drop(wal);
    let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(40), Lsn::new(60))
    );
    read(&wal);
    fill(&wal, 1);
    wait("it was not deleted", || disk.segments()[0].0.get() > 1);
}
