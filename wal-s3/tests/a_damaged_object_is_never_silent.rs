//! G4: whichever object of a bucket is lost or damaged, wherever, the log fails and says where, or
//! is whole. The hint is on nobody's way: without it, or with any other, the log is whole.

mod support;

use std::sync::Arc;

use support::{Bucket, core_options, options};
use wal_core::conformance::Place;
use wal_core::{Error, Wal};
use wal_s3::ObjectStorage;
use wal_s3::sim::{Faults, SimStore};

const RECORDS: u64 = 60;

/// Some segments of two writers, closed; with the hint of the first, too.
fn log() -> (SimStore, Vec<u8>) {
    let bucket = Bucket::new(1);
    let mut hint = Vec::new();
    for half in 0..2 {
        let (wal, _) = Wal::open(bucket.open(), core_options()).unwrap();
        for lsn in half * RECORDS / 2..(half + 1) * RECORDS / 2 {
            wal.commit(lsn.to_le_bytes().repeat(100)).unwrap();
        }
        wal.close().unwrap();
        if half == 0 {
            hint = hint_of(&bucket.store).expect("a close writes a hint").1;
        }
    }
    (bucket.store.clone(), hint)
}

fn hint_of(store: &SimStore) -> Option<(String, Vec<u8>)> {
    let mut keys = store.keys().into_iter().map(|(key, _)| key);
    let key = keys.find(|key| key.ends_with("/hint"))?;
    let bytes = store.raw(&key)?;
    Some((key, bytes.to_vec()))
}

/// Takes it over and reads everything: how many records there are, each as it was appended.
fn read(store: SimStore) -> Result<u64, Error> {
    let bucket = Bucket::of(store);
    bucket.kill_all(); // so that it is taken over, whether it was closed or not
    let (wal, _) = Wal::open(bucket.open(), core_options())?;
    let mut found = 0;
    for record in wal.reader(wal.oldest())? {
        let record = record?;
        assert_eq!(record.payload, record.lsn.get().to_le_bytes().repeat(100));
        found += 1;
    }
    Ok(found)
}

fn assert_loud_or_whole(store: SimStore, what: &str) -> bool {
    let found = read(store);
    assert!(
        found.as_ref().is_err() || found.as_ref().is_ok_and(|found| *found == RECORDS),
        "{what}: {found:?}, and no error"
    );
    found.is_err()
}

#[test]
fn a_lost_object() {
    let (store, _) = log();
    let mut errors = 0;
    for (key, _) in store.keys() {
        let copy = store.fork(2);
        assert!(copy.remove(&key));
        errors += usize::from(assert_loud_or_whole(copy, &format!("without {key}")));
    }
    assert!(
        errors >= 60,
        "{errors}: every object with records is missed"
    );
}

/// Those behind a lost one know that it was confirmed, also if the hint is older, or missing.
#[test]
fn a_lost_object_behind_the_hint() {
    let (store, _) = log();
    let hint = hint_of(&store).unwrap().0;
    let keys = store.keys().into_iter().map(|(key, _)| key);
    let objects: Vec<String> = keys.filter(|key| key.contains("/log/")).collect();
    let old = store
        .raw(&objects[objects.len() - 20])
        .unwrap()
        .slice(..168);
    for key in &objects[objects.len() - 19..objects.len() - 2] {
        for hinted in [true, false] {
            let copy = store.fork(2);
            assert!(copy.remove(key) && copy.remove(&hint));
            if hinted {
                copy.insert(&hint, old.clone());
            }
            assert_loud_or_whole(copy, &format!("without {key}, hint: {hinted}"));
        }
    }
}

/// What a hint names was confirmed: the log has not ended before it.
#[test]
fn a_lost_end() {
    let (store, _) = log();
    let copy = store.fork(2);
    let keys = store.keys().into_iter().map(|(key, _)| key);
    let objects: Vec<String> = keys.filter(|key| key.contains("/log/")).collect();
    for key in objects.iter().rev().take(20) {
        assert!(copy.remove(key));
        assert_loud_or_whole(copy.fork(3), &format!("without all from {key} on"));
    }
}

#[test]
fn a_damaged_object() {
    let (store, _) = log();
    let mut errors = 0;
    for (key, bytes) in store.keys() {
        for at in [0, 10, 30, 40, 57, 90, 150, 170, bytes / 2, bytes - 1] {
            let copy = store.fork(2);
            if copy.damage(&key, usize::try_from(at).unwrap(), 1) {
                let what = format!("byte {at} of {key}");
                errors += usize::from(assert_loud_or_whole(copy, &what));
            }
        }
    }
    assert!(errors >= 60, "{errors}");
}

#[test]
fn a_hint_that_is_missing_damaged_or_old_costs_nothing() {
    let (store, older) = log();
    let (key, newest) = hint_of(&store).unwrap();
    let mut damaged = newest;
    damaged[60] ^= 1;
    for hint in [None, Some(Vec::new()), Some(damaged), Some(older)] {
        let copy = store.fork(2);
        copy.remove(&key);
        if let Some(hint) = hint {
            copy.insert(&key, hint.into());
        }
        assert_eq!(read(copy).unwrap(), RECORDS);
    }
}

#[test]
fn listings_that_begin_at_the_beginning_cost_nothing() {
    let (store, _) = log();
    store.remove(&hint_of(&store).unwrap().0); // so that the end is found by listing
    let client = store.client("misled");
    client.set_faults(Faults {
        ignores_offset: true,
        ..Faults::default()
    });
    let storage = ObjectStorage::new(Arc::new(client), "logs/one", options()).unwrap();
    assert_eq!(Wal::inspect(storage).unwrap().end.get(), RECORDS);
}
