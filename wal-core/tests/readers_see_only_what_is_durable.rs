//! G10: readers and tails see durable records only, in order; retention removes nothing that
//! a reader or hold protects, and says `Released` for what it did remove.

use std::time::Duration;

use wal_core::sim::SimStorage;
use wal_core::{Durability, Error, Lsn, Options, Wal};

fn small() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        ..Options::default()
    }
}

/// Waits until the background has deleted what it may.
fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nothing happened for 5 s");
}

#[test]
fn what_is_only_accepted_is_not_read() {
    let (wal, _) = Wal::open(SimStorage::new(1), small()).unwrap();
    wal.commit("durable").unwrap();
    wal.append_with("accepted", Durability::Accepted)
        .unwrap()
        .wait()
        .unwrap();
    let mut reader = wal.reader(Lsn::ZERO).unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload, "durable");
    assert!(reader.next().is_none());
    wal.sync().unwrap();
    assert_eq!(reader.next().unwrap().unwrap().payload, "accepted");
}

#[test]
fn a_tail_follows_a_writer_across_segments_and_ends_with_the_log() {
    let (wal, _) = Wal::open(SimStorage::new(1), small()).unwrap();
    let mut tail = wal.tail(Lsn::ZERO).unwrap();
    let follower = std::thread::spawn(move || {
        let mut seen = 0u64;
        while let Some(record) = tail.next_blocking() {
            let record = record.unwrap();
            assert_eq!(record.lsn, Lsn::new(seen));
            assert_eq!(record.payload[..8], seen.to_le_bytes());
            seen += 1;
        }
        seen
    });
    for n in 0..300u64 {
        let mut payload = n.to_le_bytes().to_vec();
        payload.resize(8 + usize::try_from(n * 31 % 3000).unwrap(), 0);
        let commit = wal.append(payload).unwrap();
        if n % 7 == 0 {
            commit.wait().unwrap();
        }
    }
    wal.close().unwrap();
    assert_eq!(follower.join().unwrap(), 300);
}

#[test]
fn holds_and_readers_protect_and_released_records_are_named() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), small()).unwrap();
    for _ in 0..200 {
        wal.commit(vec![1; 2000]).unwrap();
    }
    let before = disk.segments().len();
    let mut hold = wal.hold(Lsn::new(50)).unwrap();
    wal.release(Lsn::new(150)).unwrap();
    assert_eq!(wal.oldest(), Lsn::new(50));
    until(|| disk.segments().len() < before);
    assert!(wal.reader(Lsn::new(50)).unwrap().next().unwrap().is_ok());
    let refused = wal.reader(Lsn::new(49)).unwrap_err();
    assert!(matches!(refused, Error::Released { oldest, .. } if oldest == Lsn::new(50)));

    let held = disk.segments().len();
    hold.advance(Lsn::new(140));
    until(|| disk.segments().len() < held);
    drop(hold);
    assert_eq!(wal.oldest(), Lsn::new(150));
    assert_eq!(
        wal.reader(Lsn::new(150))
            .unwrap()
            .map(Result::unwrap)
            .count(),
        50
    );
    assert!(matches!(
        wal.release(Lsn::new(201)),
        Err(Error::Beyond { .. })
    ));
    assert!(matches!(
        wal.reader(Lsn::new(201)),
        Err(Error::Beyond { .. })
    ));
    wal.close().unwrap();

    let (wal, recovery) = Wal::open(disk, small()).unwrap();
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(150), Lsn::new(200))
    );
    assert!(recovery.clean);
    assert_eq!(
        wal.reader(Lsn::new(150))
            .unwrap()
            .map(Result::unwrap)
            .count(),
        50
    );
}

#[test]
fn a_log_goes_on_after_everything_was_released() {
    let disk = SimStorage::new(1);
    for round in 0..5u64 {
        let (wal, recovery) = Wal::open(disk.clone(), small()).unwrap();
        assert_eq!(recovery.end, Lsn::new(round * 100));
        for _ in 0..100 {
            wal.commit(vec![1; 2000]).unwrap();
        }
        wal.release(wal.end()).unwrap();
        wal.close().unwrap();
    }
    assert!(disk.segments().len() <= 2, "{:?}", disk.segments());
}

#[test]
fn the_durable_end_can_be_waited_for() {
    let (wal, _) = Wal::open(SimStorage::new(1), small()).unwrap();
    let soon = Duration::from_millis(10);
    assert_eq!(wal.wait_durable(Lsn::new(1), soon).unwrap(), Lsn::ZERO);
    let waiting = {
        let wal = wal.clone();
        std::thread::spawn(move || wal.wait_durable(Lsn::new(2), Duration::from_secs(30)))
    };
    wal.commit(["a", "b"]).unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), Lsn::new(2));
}

/// Whichever frame brings it: those who joined a frame are woken together, and this one joined none.
#[test]
fn who_waits_for_an_lsn_is_woken_by_any_frame() {
    let (wal, _) = Wal::open(SimStorage::new(1), small()).unwrap();
    for n in 1..6 {
        let (told, waiting) = std::sync::mpsc::channel();
        let waiter = wal.clone();
        std::thread::spawn(move || told.send(waiter.reached(Lsn::new(n)).wait()));
        std::thread::sleep(Duration::from_millis(20)); // so that it sleeps
        wal.commit("x").unwrap();
        let woken = waiting.recv_timeout(Duration::from_secs(30));
        woken.expect("nobody woke it").unwrap();
    }
}

/// Or a thread that watches a log would keep a program from ending.
#[test]
fn who_waits_for_an_lsn_is_told_that_the_log_was_closed() {
    let (wal, _) = Wal::open(SimStorage::new(1), small()).unwrap();
    wal.commit("x").unwrap();
    let (told, waiting) = std::sync::mpsc::channel();
    let (reached, never) = (wal.reached(Lsn::new(1)), wal.reached(Lsn::new(5)));
    let late = wal.reached(Lsn::new(5));
    std::thread::spawn(move || told.send(never.wait()));
    std::thread::sleep(Duration::from_millis(20)); // so that it sleeps
    wal.close().unwrap();
    let outcome = waiting.recv_timeout(Duration::from_secs(30));
    assert!(matches!(
        outcome.expect("nobody told it"),
        Err(Error::Closed)
    ));
    assert!(matches!(late.wait(), Err(Error::Closed)));
    assert_eq!(
        reached.wait().unwrap(),
        Lsn::new(1)..Lsn::new(1),
        "it was reached"
    );
}
