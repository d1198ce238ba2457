//! G1, G2, G6: with uploads that are stored and answered with an error, conflicts out of
//! nothing, ghosts, and answers that never come, no writer believes that it was fenced, nothing
//! acknowledged is lost, and nothing is there twice.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Bucket, core_options};
use wal_core::{Lsn, Recovery, Wal};
use wal_s3::sim::{Faults, SimStore};
use wal_s3::{Hedge, ObjectStorage, Options};

fn options(hedge: Hedge) -> Options {
    Options {
        take_over: true,
        hedge,
        segment_objects: 16,
        request_timeout: Duration::from_millis(200),
        retry_for: Duration::from_secs(30),
        close_within: Duration::from_millis(500),
        ..Options::default()
    }
}

fn open(client: SimStore, hedge: Hedge) -> (Wal, Recovery) {
    let storage = ObjectStorage::new(Arc::new(client), "log", options(hedge)).unwrap();
    Wal::open(storage, core_options()).unwrap()
}

/// Appends while everything goes wrong now and then; reopens; each record is there once.
fn survives(seed: u64, faults: Faults, hedge: Hedge) {
    let bucket = Bucket::new(seed);
    let mut next = 0u64;
    for round in 0..4 {
        let client = bucket.client();
        client.set_faults(faults);
        let (wal, recovery) = open(client, hedge);
        assert_eq!(recovery.end, Lsn::new(next), "seed {seed}, round {round}");
        let commits: Vec<_> = (next..next + 150)
            .map(|lsn| wal.append(lsn.to_le_bytes().repeat(40)).unwrap())
            .collect();
        for commit in commits {
            let lsns = commit.wait().unwrap();
            assert_eq!(lsns.start, Lsn::new(next));
            next += 1;
        }
        if round == 1 {
            wal.release(Lsn::new(next / 2)).unwrap();
        }
        if round % 2 == 0 {
            bucket.kill_all();
            std::mem::forget(wal); // a process that was killed does not even wait
        }
    }
    let (wal, _) = open(bucket.client(), Hedge::Off);
    let mut expected = wal.oldest().get();
    for record in wal.reader(wal.oldest()).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.lsn, Lsn::new(expected));
        assert_eq!(record.payload, expected.to_le_bytes().repeat(40));
        expected += 1;
    }
    assert_eq!(expected, next, "seed {seed}");
}

#[test]
fn stored_and_answered_with_an_error() {
    let faults = Faults {
        stored_then_error: 0.05,
        ..Faults::default()
    };
    (0..5).for_each(|seed| survives(seed, faults, Hedge::Off));
}

#[test]
fn conflicts_out_of_nothing() {
    let faults = Faults {
        spurious_conflict: 0.05,
        spurious_precondition: 0.05,
        ..Faults::default()
    };
    (0..5).for_each(|seed| survives(seed, faults, Hedge::Off));
}

#[test]
fn all_at_once_and_hedged() {
    let faults = Faults {
        stored_then_error: 0.05,
        error_then_stored: 0.03,
        error: 0.03,
        spurious_conflict: 0.05,
        spurious_precondition: 0.02,
        unavailable: 0.05,
        never: 0.002,
        ..Faults::default()
    };
    (0..8).for_each(|seed| survives(seed, faults, Hedge::Adaptive));
}
