//! G1, G2: names of ours that a crash or a kill left behind. A file that also is a segment stays
//! that segment, untouched, and is never used as another; what was being built or unlinked goes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wal_core::{Lsn, Options, Wal};
use wal_fs::FileStorage;

fn open(path: &Path) -> Wal {
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    Wal::open(FileStorage::open(path).unwrap(), options)
        .unwrap()
        .0
}

fn payload(lsn: u64) -> Vec<u8> {
    lsn.to_le_bytes().repeat(1000)
}

fn fill(wal: &Wal, records: u64) {
    for _ in 0..records {
        wal.commit(payload(wal.end().get())).unwrap();
    }
}

fn read(wal: &Wal, end: u64) {
    let mut next = 0;
    for record in wal.reader(Lsn::ZERO).unwrap() {
        assert_eq!(record.unwrap().payload, payload(next));
        next += 1;
    }
    assert_eq!(next, end);
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(path).unwrap();
    let mut files: Vec<_> = names.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

fn wait_until_gone(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while path.exists() {
        assert!(Instant::now() < deadline, "{} stays", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// N5: both names of a rename survived, for an old segment and for the newest.
#[test]
fn a_second_name_of_a_segment_is_removed_and_the_segment_stays() {
    for name in [
        "spare.ready",
        "spare.ready.2",
        "spare.building",
        "reserve",
        "000000000001-00000000000000000000.wal.gone",
    ] {
        for newest in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let wal = open(dir.path());
            fill(&wal, 20);
            wal.close().unwrap();
            for spare in ["spare.ready", "spare.ready.2", "spare.building", "reserve"] {
                let _ = fs::remove_file(dir.path().join(spare));
            }
            let files = segments(dir.path());
            assert!(files.len() >= 3);
            let segment = if newest { files.last() } else { files.first() };
            fs::hard_link(segment.unwrap(), dir.path().join(name)).unwrap();
            let wal = open(dir.path());
            read(&wal, 20);
            // Were it taken for a spare or for space kept back, it would be overwritten now.
            fill(&wal, 40);
            read(&wal, 60);
            wal.close().unwrap();
            read(&open(dir.path()), 60);
        }
    }
}

/// N7.
#[test]
fn what_was_being_built_or_unlinked_goes() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path());
    fill(&wal, 20);
    wal.close().unwrap();
    let gone = dir
        .path()
        .join("000000000099-00000000000000000007.wal.gone");
    let building = dir.path().join("spare.building");
    let kept = dir.path().join("99-7.wal.gone"); // not ours
    let first = fs::read(&segments(dir.path())[0]).unwrap();
    for file in [&gone, &building, &kept] {
        fs::write(file, &first).unwrap();
    }
    let wal = open(dir.path());
    wait_until_gone(&gone);
    wait_until_gone(&building);
    assert!(kept.exists());
    read(&wal, 20);
    fill(&wal, 20);
    read(&wal, 40);
}
