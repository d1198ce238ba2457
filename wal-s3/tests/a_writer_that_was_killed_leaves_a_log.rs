//! G1, G2, G3: kill -9 while many uploads are under way. Some of them land, with holes between
//! them; the log ends before the first hole, opens, and has all that was acknowledged.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Bucket, core_options, options};
use wal_core::{Lsn, Wal};
use wal_s3::sim::{Latency, Profile, SimStore};
use wal_s3::{ObjectStorage, Options};

/// As an object store, and ten times as fast.
const QUICK: Profile = Profile {
    put: Latency {
        median: Duration::from_millis(2),
        p99: Duration::from_millis(8),
    },
    ..Profile::NONE
};

fn open(bucket: &Bucket) -> Wal {
    let options = Options {
        take_over: true,
        retry_for: Duration::from_secs(10),
        ..options()
    };
    let storage = ObjectStorage::new(Arc::new(bucket.client()), "log", options).unwrap();
    let core = wal_core::Options {
        queue_bytes: 256 << 10,
        ..core_options()
    };
    Wal::open(storage, core).unwrap().0
}

/// Appends without waiting, is killed after `life`; how much was acknowledged before that.
fn live(bucket: &Bucket, life: Duration, expected: &mut Vec<Vec<u8>>) -> usize {
    let wal = open(bucket);
    let mut commits = Vec::new();
    for n in 0..60u64 {
        let payload = (expected.len() as u64)
            .to_le_bytes()
            .repeat(300 + n as usize % 3);
        commits.push(wal.append(payload.clone()).unwrap());
        expected.push(payload);
    }
    std::thread::sleep(life);
    let ready = commits
        .iter()
        .take_while(|commit| commit.is_ready())
        .count();
    bucket.kill_all();
    std::mem::forget(wal); // a process that was killed does not even wait
    expected.len() - 60 + ready
}

#[test]
fn whenever_it_is_killed() {
    let mut torn = 0;
    for seed in 0..40 {
        let bucket = Bucket::of(SimStore::new(seed).with_profile(QUICK));
        let mut expected = Vec::new();
        for round in 0..3 {
            let life = Duration::from_micros(500 + (seed * 3 + round) % 10 * 1500);
            let promised = live(&bucket, life, &mut expected);
            let wal = open(&bucket);
            let end = usize::try_from(wal.end().get()).unwrap();
            assert!(end >= promised, "seed {seed}: {end} of {promised}");
            torn += usize::from(end < expected.len());
            expected.truncate(end);
            let records = wal
                .reader(Lsn::ZERO)
                .unwrap()
                .map(|record| record.unwrap().payload);
            assert!(
                records.eq(expected.iter().map(Vec::as_slice)),
                "seed {seed}"
            );
            bucket.kill_all();
            std::mem::forget(wal);
        }
    }
    assert!(torn > 10, "only {torn} kills came in between");
}
