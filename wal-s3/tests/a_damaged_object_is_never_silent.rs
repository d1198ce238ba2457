//! G4: whichever object of a bucket is lost or damaged, wherever, the log fails and says where, or
//! is whole. The hint is on nobody's way: without it, or with any other, the log is whole. What is
//! intact is salvaged, and what is not is named.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Bucket, core_options, options};
use wal_core::conformance::Place;
use wal_core::{Error, Salvaged, Wal};
use wal_s3::ObjectStorage;
use wal_s3::sim::{Faults, SimStore};

const RECORDS: u64 = 60;
/// Bytes of an object's own header.
const HEADER: u64 = 168;
/// Where its header says where its frames begin in their segment, and how many bytes they have.
const OFFSET: usize = 56;
const FRAME_BYTES: usize = 64;
/// So large is the one frame of each object of `log`.
const SIZE: u64 = 888;

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

/// Salvages it: one record may be missing, and no more. Its gap is named.
fn assert_the_rest_is_salvaged(store: SimStore, what: &str) -> u64 {
    let (mut found, mut gaps) = (Vec::new(), Vec::new());
    let salvage = Wal::salvage(Bucket::of(store).open());
    for it in salvage.unwrap_or_else(|error| panic!("{what}: {error}")) {
        match it {
            Salvaged::Record(record) => {
                assert_eq!(record.payload, record.lsn.get().to_le_bytes().repeat(100));
                found.push(record.lsn.get());
            }
            Salvaged::Gap(gap) => gaps.push(gap),
        }
    }
    assert!(found.is_sorted_by(|a, b| a < b), "{what}: {found:?}");
    let missing = (0..RECORDS).filter(|lsn| !found.contains(lsn)).count() as u64;
    assert!(missing <= 1, "{what}: {missing} are missing, {gaps:?}");
    assert!(missing == 0 || !gaps.is_empty(), "{what}: not named");
    missing
}

#[test]
fn a_lost_object() {
    let (store, _) = log();
    let mut errors = 0;
    for (key, _) in store.keys() {
        let copy = store.fork(2);
        assert!(copy.remove(&key));
        let what = format!("without {key}");
        assert_the_rest_is_salvaged(copy.fork(3), &what);
        errors += usize::from(assert_loud_or_whole(copy, &what));
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
                let missing = assert_the_rest_is_salvaged(copy.fork(3), &what);
                let inside = at >= HEADER && key.contains("/log/");
                assert!(missing == 0 || inside, "{what}: its frames are intact");
                errors += usize::from(assert_loud_or_whole(copy, &what));
            }
        }
    }
    assert!(errors >= 60, "{errors}");
}

/// Changes a number in an object's header, and makes its checksum right.
fn forge(store: &SimStore, key: &str, at: usize, change: impl Fn(u64) -> u64) {
    let mut bytes = store.raw(key).unwrap().to_vec();
    let number = u64::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    bytes[at..at + 8].copy_from_slice(&change(number).to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..164]);
    bytes[164..168].copy_from_slice(&sum.to_le_bytes());
    store.insert(key, bytes.into());
}

/// An object that says that it lies elsewhere in its segment, with a right checksum, has nothing of
/// what is read next: the read ends, with an error or with all there is.
#[test]
fn a_forged_offset_ends_a_read() {
    let (store, _) = log();
    let keys = store.keys().into_iter().map(|(key, _)| key);
    let objects: Vec<String> = keys.filter(|key| key.contains("/log/")).collect();
    let elsewhere: [fn(u64) -> u64; 3] = [|at| at - SIZE * 3 / 2, |at| at - 1, |at| at + 8];
    for key in &objects[3..10] {
        for (which, elsewhere) in elsewhere.iter().enumerate() {
            let copy = store.fork(2);
            forge(&copy, key, OFFSET, elsewhere);
            let what = format!("offset {which} of {key}");
            let (done, ended) = std::sync::mpsc::channel();
            std::thread::spawn(move || done.send(read(copy)));
            let ended = ended.recv_timeout(Duration::from_secs(20));
            let found = ended.unwrap_or_else(|_| panic!("{what}: the read goes on for ever"));
            assert!(
                !matches!(found, Ok(found) if found < RECORDS),
                "{what}: {found:?}"
            );
        }
    }
}

/// Lengths are bounded by what is there: a header that lies about them, with a right checksum, costs
/// an error, and no time.
#[test]
fn a_forged_length() {
    let (store, _) = log();
    let keys = store.keys().into_iter().map(|(key, _)| key);
    let objects: Vec<String> = keys.filter(|key| key.contains("/log/")).collect();
    for (offset_at, key) in [
        (OFFSET, 10),
        (FRAME_BYTES, 10),
        (OFFSET, objects.len() - 4),
        (FRAME_BYTES, objects.len() - 4),
    ] {
        let key = &objects[key];
        let copy = store.fork(2);
        forge(&copy, key, offset_at, |number| number ^ 1 << 40);
        let what = format!("byte {offset_at} of {key}");
        let begun = std::time::Instant::now();
        assert!(assert_loud_or_whole(copy.fork(3), &what), "{what}");
        assert_the_rest_is_salvaged(copy, &what);
        assert!(begun.elapsed().as_secs() < 10, "{what}");
    }
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
