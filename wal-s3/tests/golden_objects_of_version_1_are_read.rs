//! G11: objects that version 1 wrote are read by this code, and are as `docs/FORMAT.md` draws them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Bucket;
use wal_core::conformance::Place;
use wal_core::{Lsn, Wal};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn core_options() -> wal_core::Options {
    wal_core::Options {
        segment_bytes: 64 << 10,
        append_bytes: 8 << 10,
        queue_bytes: 64 << 10,
        frame_bytes: 4 << 10,
        watermark_delay: None,
        ..wal_core::Options::default()
    }
}

/// Writes the files anew; only for a new version, under a new name.
#[test]
#[ignore = "writes tests/golden"]
fn write() {
    let bucket = Bucket::new(1);
    let (wal, _) = Wal::open(bucket.open(), core_options()).unwrap();
    for n in 0..60u64 {
        wal.commit(n.to_le_bytes().repeat(8)).unwrap();
    }
    wal.release(Lsn::new(20)).unwrap();
    wal.close().unwrap();
    fs::create_dir_all(golden()).unwrap();
    for (key, _) in bucket.store.keys() {
        let bytes = bucket.store.raw(&key).unwrap();
        fs::write(golden().join(key.replace('/', "-")), bytes).unwrap();
    }
}

fn stored() -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(golden()).unwrap().map(Result::unwrap);
    let read = |file: fs::DirEntry| {
        let name = file.file_name().into_string().unwrap();
        (name.replace('-', "/"), fs::read(file.path()).unwrap())
    };
    let mut all: Vec<_> = files.map(read).collect();
    all.sort();
    all
}

#[test]
fn the_log_opens_and_holds_what_it_held() {
    let bucket = Bucket::new(2);
    for (key, bytes) in stored() {
        bucket.store.insert(&key, bytes.into());
    }
    let (wal, recovery) = Wal::open(bucket.open(), core_options()).unwrap();
    assert!(recovery.clean);
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(20), Lsn::new(60))
    );
    for record in wal.reader(Lsn::new(20)).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.payload, record.lsn.get().to_le_bytes().repeat(8));
    }
    assert_eq!(wal.verify().unwrap().damage, []);
}

/// A decoder of its own, written from the table.
#[test]
fn the_bytes_are_as_documented() {
    let number =
        |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let short = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut kinds = [0; 6];
    let mut previous = None;
    for (key, bytes) in stored() {
        assert_eq!(&bytes[..8], b"\x89WALobj\n", "{key}");
        assert_eq!(bytes[8..10], [1, 0], "{key}");
        assert_eq!(short(&bytes, 164), crc(&bytes[..164]), "{key}");
        kinds[usize::from(bytes[10])] += 1;
        let extra = short(&bytes, 12) as usize;
        if !key.ends_with("hint") {
            assert_eq!(
                bytes.len(),
                168 + extra + number(&bytes, 64) as usize,
                "{key}"
            );
            assert_eq!(short(&bytes, 156), crc(&bytes[168..168 + extra]), "{key}");
        }
        if let Some(place) = key.strip_prefix("logs/one/log/") {
            let (epoch, seq) = place.split_once('/').unwrap();
            assert_eq!(epoch.parse(), Ok(number(&bytes, 32)));
            assert_eq!(seq.parse(), Ok(number(&bytes, 40)));
            assert!(number(&bytes, 80) <= number(&bytes, 40), "{key}: confirmed");
            if let Some((before, sum)) = previous
                && before + 1 == number(&bytes, 40)
                && bytes[10] != 2
            {
                assert_eq!(short(&bytes, 152), sum, "{key}: previous");
            }
            previous = Some((number(&bytes, 40), short(&bytes, 164)));
        }
    }
    assert!(
        kinds[1..].iter().all(|count| *count > 0),
        "a kind is missing: {kinds:?}"
    );
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82F6_3B78 * (sum & 1))
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}
