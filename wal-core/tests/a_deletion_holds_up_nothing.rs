//! G8: while a deletion is under way, whoever appends goes on, on whichever thread; it is finished
//! all the same, also if nobody calls any more, and closing waits for it.

mod support;

use std::time::{Duration, Instant};

use support::{Gate, Odd, open_gate};
use wal_core::sim::SimStorage;
use wal_core::{Lsn, Options, Wal};

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

/// A log of some segments, most of which are released; their deletion has begun.
fn deleting() -> (SimStorage, Gate, Wal) {
    let disk = SimStorage::new(1);
    let gate = Gate::default();
    let storage = Odd {
        gate: Some(gate.clone()),
        ..Odd::new(&disk)
    };
    let (wal, _) = Wal::open(storage, options()).unwrap();
    for _ in 0..60 {
        wal.commit(vec![7; 3000]).unwrap();
    }
    wal.release(Lsn::new(40)).unwrap();
    wait("it has not begun", || gate.lock().unwrap().1.is_some());
    (disk, gate, wal)
}

fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !until() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn oldest(disk: &SimStorage) -> u64 {
    disk.segments()[0].0.get()
}

#[test]
fn appends_of_all_kinds_go_on_and_later_releases_count() {
    let (disk, gate, wal) = deleting();
    for _ in 0..20 {
        wal.commit(vec![7; 3000]).unwrap();
        wal.append(vec![7; 3000]).unwrap().wait().unwrap();
        wal.sync().unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    wal.commit(vec![7; 3000]).unwrap();
                }
            });
        }
    });
    wal.release(Lsn::new(100)).unwrap();
    assert_eq!(oldest(&disk), 1);
    open_gate(&gate);
    wait("the later release was forgotten", || oldest(&disk) > 4);
    wal.close().unwrap();
}

#[test]
fn it_is_finished_although_nobody_calls_any_more() {
    let (disk, gate, wal) = deleting();
    wal.commit(vec![7; 3000]).unwrap();
    open_gate(&gate);
    wait("it was not finished", || oldest(&disk) > 1);
    drop(wal);
}

#[test]
fn it_is_finished_while_one_caller_keeps_the_log_busy() {
    let (disk, gate, wal) = deleting();
    open_gate(&gate);
    wait("it was not finished", || {
        wal.commit(vec![7; 3000]).unwrap();
        oldest(&disk) > 1
    });
}

#[test]
fn closing_waits_for_it() {
    let (disk, gate, wal) = deleting();
    let limit = Duration::from_millis(50);
    assert!(wal.clone().close_timeout(limit).is_err());
    open_gate(&gate);
    wal.close().unwrap();
    assert!(oldest(&disk) > 1);
}
