//! G8: memory is bounded whatever callers do; beyond the bound an append waits or fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wal_core::sim::SimStorage;
use wal_core::{Append, Durability, Error, Limits, Lsn, OnFull, Options, Wal};

mod slow;
use slow::Slow;

fn small(on_full: OnFull) -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 4 << 10,
        append_bytes: 8 << 10,
        queue_bytes: 16 << 10,
        on_full,
        linger: Duration::from_secs(10), // nothing is written before the queue has a frame
        ..Options::default()
    }
}

#[test]
fn a_full_queue_fails_or_waits_as_chosen() {
    let options = Options {
        frame_bytes: 64 << 10,
        ..small(OnFull::Fail)
    };
    let (wal, _) = Wal::open(SimStorage::new(1), options.clone()).unwrap();
    let mut commits = Vec::new();
    let busy = loop {
        match wal.append(vec![0; 1000]) {
            Ok(commit) => commits.push(commit),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(busy, Error::Busy { queued, limit: 16_384 } if queued <= 16_384),
        "{busy}"
    );
    assert_eq!(commits.len(), 15);
    let next = wal.end();
    wal.sync().unwrap(); // makes room
    assert_eq!(
        wal.append("fits").unwrap().lsns().start,
        next,
        "what failed took no LSN"
    );

    let options = Options {
        on_full: OnFull::Wait,
        frame_bytes: 4 << 10,
        ..options
    };
    let (wal, _) = Wal::open(SimStorage::new(1), options).unwrap();
    for _ in 0..100 {
        drop(wal.append(vec![0; 1000]).unwrap()); // cancels nothing
    }
    assert_eq!(wal.sync().unwrap(), Lsn::new(100));
}

/// Callers wait a little for a writer that makes progress, and not for one that does not.
#[test]
fn a_writer_that_is_stuck_holds_up_nobody_before_the_queue_is_full() {
    let hangs = Arc::new(AtomicBool::new(true));
    let slow = Slow::new(&SimStorage::new(1), &hangs);
    let (wal, _) = Wal::open(slow, Options::default()).unwrap();
    let begun = Instant::now();
    for _ in 0..20_000 {
        drop(wal.append_with([[7; 2048]], Durability::Accepted).unwrap());
    }
    let took = begun.elapsed();
    hangs.store(false, Ordering::SeqCst);
    assert_eq!(wal.sync().unwrap(), Lsn::new(20_000));
    // A wait for each would have taken more than a minute.
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn an_append_that_can_never_fit_is_refused_and_costs_nothing() {
    let (wal, _) = Wal::open(SimStorage::new(1), small(OnFull::Wait)).unwrap();
    let refused = wal.append(vec![0; 9000]).unwrap_err();
    assert!(
        matches!(refused, Error::TooLarge { limit: 8192, .. }),
        "{refused}"
    );
    // Empty records cost their table entries.
    let many: Append = std::iter::repeat_n("", 2000).collect();
    assert!(matches!(wal.append(many), Err(Error::TooLarge { .. })));
    assert!(matches!(wal.append(Append::new()), Err(Error::Empty)));
    assert_eq!(wal.end(), Lsn::ZERO);
}

#[test]
fn options_out_of_range_are_named() {
    let refuse = |options: Options| {
        Wal::open(SimStorage::new(1), options)
            .unwrap_err()
            .to_string()
    };
    let segment = refuse(Options {
        segment_bytes: 1,
        ..Options::default()
    });
    assert!(segment.contains("`segment_bytes` is 1"), "{segment}");
    let append = refuse(Options {
        append_bytes: 40 << 20,
        ..Options::default()
    });
    assert!(append.contains("`append_bytes`"), "{append}");
    let queue = refuse(Options {
        queue_bytes: 1 << 20,
        ..Options::default()
    });
    assert!(queue.contains("`queue_bytes`"), "{queue}");
    let linger = refuse(Options {
        linger: Duration::from_secs(11),
        ..Options::default()
    });
    assert!(linger.contains("`linger` is 11000"), "{linger}");
    let frame = refuse(Options {
        frame_bytes: 0,
        ..Options::default()
    });
    assert!(frame.contains("`frame_bytes`"), "{frame}");
}

#[test]
fn records_of_every_size_come_back() {
    let limits = Limits {
        align: 512,
        in_flight: 1,
        append_bytes: 1 << 30,
        ..Limits::default()
    };
    let (wal, _) = Wal::open(SimStorage::with_limits(1, limits), Options::default()).unwrap();
    let sizes = [
        0,
        1,
        511,
        512,
        513,
        4095,
        4096,
        70_000,
        1 << 20,
        (16 << 20) - 8,
    ];
    for size in sizes {
        wal.commit(vec![7; size]).unwrap();
    }
    let read: Vec<_> = wal
        .reader(Lsn::ZERO)
        .unwrap()
        .map(|record| record.unwrap().payload.len())
        .collect();
    assert_eq!(read, sizes);
}

/// G9: a limit that no clock can hold is none.
#[test]
fn no_wait_is_too_long() {
    let options = Options {
        watermark_delay: Some(Duration::MAX),
        ..Options::default()
    };
    let (wal, _) = Wal::open(SimStorage::new(1), options).unwrap();
    let mut commit = wal.append("x").unwrap();
    let lsns = commit.wait_timeout(Duration::MAX).unwrap();
    assert_eq!(wal.wait_durable(lsns.end, Duration::MAX).unwrap(), lsns.end);
    let mut tail = wal.tail(Lsn::ZERO).unwrap();
    let record = tail.next_timeout(Duration::MAX).unwrap().unwrap();
    assert_eq!(record.payload, "x");
    drop(tail);
    wal.close_timeout(Duration::MAX).unwrap();
}
