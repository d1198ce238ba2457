//! Retention: what was released goes, seals and what is needed stay, and a writer that slept
//! through it can do no harm.

mod support;

use std::time::{Duration, Instant};

use support::{Bucket, core_options};
use wal_core::conformance::Place;
use wal_core::{Error, Lsn, Wal};

fn fill(wal: &Wal, lsns: std::ops::Range<u64>) {
    for lsn in lsns {
        wal.commit(lsn.to_le_bytes().repeat(100)).unwrap();
    }
}

fn objects(bucket: &Bucket) -> usize {
    let keys = bucket.store.keys();
    keys.iter().filter(|(key, _)| key.contains("/log/")).count()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn and_the_rest_stays_across_a_take_over() {
    let bucket = Bucket::new(1);
    let (wal, _) = Wal::open(bucket.open(), core_options()).unwrap();
    fill(&wal, 0..200);
    let all = objects(&bucket);
    wal.release(Lsn::new(150)).unwrap();
    until("nothing was deleted", || objects(&bucket) < all / 2);
    bucket.kill_all();
    std::mem::forget(wal);
    let (wal, recovery) = Wal::open(bucket.open(), core_options()).unwrap();
    assert_eq!(recovery.end, Lsn::new(200));
    let oldest = wal.oldest();
    assert!(oldest <= Lsn::new(150) && oldest > Lsn::ZERO, "{oldest}");
    assert_eq!(
        wal.reader(oldest).unwrap().count() as u64,
        200 - oldest.get()
    );
    let seals = bucket.store.keys().into_iter();
    let seals = seals
        .filter(|(key, _)| key.contains("/log/00000000000000000000/"))
        .count();
    assert_eq!(seals, 1, "the first seal stays for ever");
}

#[test]
fn a_writer_that_slept_finds_its_seal() {
    let bucket = Bucket::new(2);
    let sleeper = bucket.client();
    let storage = |client| {
        let options = wal_s3::Options {
            take_over: true,
            retry_for: Duration::from_secs(10),
            request_timeout: Duration::from_secs(10),
            ..support::options()
        };
        wal_s3::ObjectStorage::new(std::sync::Arc::new(client), "logs/one", options).unwrap()
    };
    let (slow, _) = Wal::open(storage(sleeper.clone()), core_options()).unwrap();
    fill(&slow, 0..40);
    sleeper.pause();
    let late = slow.append("late").unwrap();
    let (wal, recovery) = Wal::open(storage(bucket.client()), core_options()).unwrap();
    assert_eq!(recovery.end, Lsn::new(40));
    let all = objects(&bucket);
    fill(&wal, 40..200);
    wal.release(Lsn::new(190)).unwrap();
    until("nothing was deleted", || objects(&bucket) < all + 60);
    sleeper.resume();
    let refused = late.wait();
    assert!(
        matches!(&refused, Err(Error::Poisoned { .. })),
        "{refused:?}"
    );
    fill(&wal, 200..210);
    drop(wal);
    let (wal, recovery) = Wal::open(storage(bucket.client()), core_options()).unwrap();
    assert_eq!(recovery.end, Lsn::new(210));
    assert_eq!(wal.verify().unwrap().damage, []);
}

/// An end that vanished is not taken for the end of a shorter log (G4).
#[test]
fn a_missing_object_is_an_error() {
    let bucket = Bucket::new(3);
    let (wal, _) = Wal::open(bucket.open(), core_options()).unwrap();
    fill(&wal, 0..100);
    wal.close().unwrap();
    let keys = bucket.store.keys().into_iter().map(|(key, _)| key);
    let log: Vec<String> = keys.filter(|key| key.contains("/log/")).collect();
    for lost in [log[log.len() - 1].clone(), log[log.len() - 3].clone()] {
        let copy = bucket.store.fork(9);
        assert!(copy.remove(&lost));
        let damaged = Bucket::of(copy);
        let opened = Wal::open(damaged.open(), core_options());
        assert!(opened.is_err(), "{lost} is missing, and nobody says so");
    }
}
