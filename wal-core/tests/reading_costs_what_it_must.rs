//! What reading asks of the storage: a replay reads nearly every byte once, whatever the frames'
//! length; a lookup by LSN takes two reads, in however many segments; and a hold that is given up
//! lets go what it kept, without another call.

mod support;

use std::time::{Duration, Instant};

use support::Odd;
use wal_core::sim::SimStorage;
use wal_core::{Lsn, Options, Wal};

/// Bytes that a replay asks for, for each byte of the log.
fn replayed(frame: usize) -> f64 {
    let disk = SimStorage::new(1);
    let storage = Odd::new(&disk);
    let read = storage.read.clone();
    let (wal, _) = Wal::open(storage, Options::default()).unwrap();
    let frames = (8 << 20) / frame;
    for _ in 0..frames {
        wal.commit(vec![7; frame]).unwrap();
    }
    read.take();
    let records = wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap);
    assert_eq!(records.count(), frames);
    let stored = wal.stats().stored_bytes;
    read.take().1 as f64 / stored as f64
}

#[test]
fn a_replay_reads_each_frame_once() {
    for frame in [10 << 10, 200 << 10, 300 << 10, 700 << 10, 1 << 20] {
        let ratio = replayed(frame);
        assert!(ratio < 1.1, "frames of {frame} bytes: {ratio}");
    }
}

#[test]
fn a_lookup_takes_two_reads_in_however_many_segments() {
    let disk = SimStorage::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let (wal, _) = Wal::open(disk.clone(), options.clone()).unwrap();
    for _ in 0..100 {
        wal.commit([vec![1; 15_900], vec![2; 16_700]]).unwrap();
    }
    wal.close().unwrap();
    let storage = Odd::new(&disk);
    let read = storage.read.clone();
    let (wal, _) = Wal::open(storage, options).unwrap();
    assert!(
        disk.segments().len() > 40,
        "the test is about many segments"
    );
    let look = || {
        read.take();
        for lsn in 0..200 {
            wal.get(Lsn::new(lsn)).unwrap();
        }
        read.take().0
    };
    look(); // reads the indexes
    assert_eq!(
        look(),
        300,
        "a frame's first read brings its first record along"
    );
}

#[test]
fn what_was_only_held_goes_when_the_hold_does() {
    let disk = SimStorage::new(1);
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let (wal, _) = Wal::open(disk.clone(), options).unwrap();
    for _ in 0..10 {
        wal.commit(vec![1; 30_000]).unwrap();
    }
    let mut hold = wal.hold(Lsn::ZERO).unwrap();
    let reader = wal.reader(Lsn::new(5)).unwrap();
    let segments = disk.segments().len();
    wal.release(wal.newest_segment()).unwrap();
    let shrinks_to = |most: usize| {
        let begun = Instant::now();
        while disk.segments().len() > most && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(disk.segments().len() <= most);
    };
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(disk.segments().len(), segments);
    hold.advance(Lsn::new(4));
    shrinks_to(segments - 1);
    drop(hold);
    drop(reader);
    shrinks_to(2);
}
