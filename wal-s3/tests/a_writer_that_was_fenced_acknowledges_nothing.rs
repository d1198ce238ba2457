//! G6: no writer ever acknowledges a record that its successor's log does not hold, whatever is
//! under way, paused, or delayed when the successor takes over.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use support::{Bucket, core_options};
use wal_core::{Error, Lsn, StorageError, Wal};
use wal_s3::sim::{Faults, Latency, Profile, SimStore};
use wal_s3::{ObjectStorage, Options};

fn options() -> Options {
    Options {
        take_over: true,
        segment_objects: 16,
        request_timeout: Duration::from_millis(500),
        retry_for: Duration::from_secs(10),
        close_within: Duration::from_millis(500),
        ..Options::default()
    }
}

fn open(client: SimStore) -> Result<Wal, Error> {
    let storage = ObjectStorage::new(Arc::new(client), "log", options())?;
    Ok(Wal::open(storage, core_options())?.0)
}

/// Appends until it is fenced; what was acknowledged, in order.
fn write_until_fenced(wal: &Wal, name: u8, stop: &AtomicBool) -> Vec<(Lsn, Vec<u8>)> {
    let mut acknowledged = Vec::new();
    for n in 0u64.. {
        let group: Vec<_> = (0..4u64)
            .map(|part| {
                let mut payload = vec![name];
                payload.extend((n * 4 + part).to_le_bytes());
                payload
            })
            .collect();
        let commits: Result<Vec<_>, _> = group
            .iter()
            .map(|payload| wal.append(payload.clone()))
            .collect();
        for (commit, payload) in commits.into_iter().flatten().zip(group) {
            match commit.wait() {
                Ok(lsns) => acknowledged.push((lsns.start, payload)),
                Err(Error::Poisoned { cause, .. }) => {
                    assert!(matches!(cause, StorageError::Fenced(_)), "{cause}");
                    return acknowledged;
                }
                Err(error) => panic!("{error}"),
            }
        }
        if stop.load(Ordering::SeqCst) || wal.sync().is_err() {
            return acknowledged;
        }
    }
    acknowledged
}

fn check(wal: &Wal, acknowledged: &[(Lsn, Vec<u8>)], seed: u64) {
    let records: Vec<_> = wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).collect();
    for (lsn, payload) in acknowledged {
        let found = records.get(usize::try_from(lsn.get()).unwrap());
        let found = found.unwrap_or_else(|| panic!("seed {seed}: {lsn} was lost"));
        assert_eq!(
            (found.lsn, &found.payload[..]),
            (*lsn, &payload[..]),
            "seed {seed}"
        );
    }
    let mut seen: Vec<_> = records.iter().map(|record| &record.payload).collect();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all, "seed {seed}: a record is there twice");
}

/// A writes, perhaps stopped; B takes over and writes, perhaps stopped; C takes over and reads.
fn race(seed: u64) {
    let latency = |micros| Latency {
        median: Duration::from_micros(micros),
        p99: Duration::from_micros(micros * 4),
    };
    let profile = Profile {
        put: latency(2000),
        get: latency(1000),
        list: latency(1000),
        delete: latency(1000),
        bytes_per_second: u64::MAX,
    };
    let bucket = Bucket::of(SimStore::new(seed).with_profile(profile));
    let doubtful = Faults {
        stored_then_error: 0.03,
        error_then_stored: 0.03,
        spurious_conflict: 0.03,
        ..Faults::default()
    };
    let stop = AtomicBool::new(false);
    let (a, b) = (bucket.client(), bucket.client());
    a.set_faults(doubtful);
    b.set_faults(doubtful);
    let first = open(a.clone()).unwrap();
    let mut acknowledged = std::thread::scope(|scope| {
        let one = scope.spawn(|| write_until_fenced(&first, b'a', &stop));
        std::thread::sleep(Duration::from_millis(10 + seed * 7 % 30));
        if seed.is_multiple_of(2) {
            a.pause();
        }
        let second = open(b.clone()).unwrap();
        let two = scope.spawn(move || {
            let acknowledged = write_until_fenced(&second, b'b', &AtomicBool::new(false));
            (acknowledged, second)
        });
        std::thread::sleep(Duration::from_millis(10 + seed * 5 % 20));
        a.resume();
        if seed.is_multiple_of(3) {
            b.pause();
        }
        let third = open(bucket.client()).unwrap();
        b.resume();
        let mut acknowledged = one.join().unwrap();
        assert!(!acknowledged.is_empty());
        let (more, second) = two.join().unwrap();
        acknowledged.extend(more);
        assert!(second.commit("too late").is_err(), "seed {seed}");
        third.commit("by the last").unwrap();
        check(&third, &acknowledged, seed);
        acknowledged
    });
    assert!(first.commit("too late").is_err(), "seed {seed}");
    acknowledged.sort();
    let last = open(bucket.client()).unwrap();
    check(&last, &acknowledged, seed);
}

#[test]
fn two_successors_and_pauses() {
    (0..12).for_each(race);
}

#[test]
fn without_take_over_a_log_in_use_is_refused_and_not_disturbed() {
    let bucket = Bucket::new(1);
    let wal = open(bucket.client()).unwrap();
    wal.commit("one").unwrap();
    let plain = Options {
        take_over: false,
        ..options()
    };
    let storage = ObjectStorage::new(Arc::new(bucket.client()), "log", plain.clone()).unwrap();
    let refused = Wal::open(storage, core_options()).unwrap_err().to_string();
    assert!(refused.contains("take_over"), "{refused}");
    wal.commit("two").unwrap();
    wal.close().unwrap();
    let storage = ObjectStorage::new(Arc::new(bucket.client()), "log", plain).unwrap();
    let (_, recovery) = Wal::open(storage, core_options()).unwrap();
    assert_eq!(recovery.end, Lsn::new(2));
}
