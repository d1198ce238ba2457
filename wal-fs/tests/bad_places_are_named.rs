//! Wrong paths, foreign files, damaged and newer logs: an error that names the thing.

use std::fs;
use std::path::Path;

use wal_core::{Error, Lsn, Options, Wal};
use wal_fs::FileStorage;

fn options() -> Options {
    Options {
        segment_bytes: 1 << 20,
        append_bytes: 64 << 10,
        ..Options::default()
    }
}

fn open(path: &Path) -> Result<Wal, Error> {
    Ok(Wal::open(FileStorage::open(path)?, options())?.0)
}

fn segment_files(path: &Path) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

#[test]
fn a_path_that_is_a_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "not a directory").unwrap();
    let error = open(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"not a directory");
}

#[test]
fn foreign_names_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "notes.txt",
        "000000000001.wal",
        "000000000001-1.wal",
        "-.wal",
    ] {
        fs::write(dir.path().join(name), "foreign").unwrap();
    }
    let wal = open(dir.path()).unwrap();
    wal.commit("mine").unwrap();
    wal.close().unwrap();
    assert_eq!(fs::read(dir.path().join("notes.txt")).unwrap(), b"foreign");
    assert_eq!(fs::read(dir.path().join("-.wal")).unwrap(), b"foreign");
}

#[test]
fn a_newer_format_is_refused_and_the_log_left_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.commit("old").unwrap();
    wal.close().unwrap();
    let file = segment_files(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[8..10].copy_from_slice(&99u16.to_le_bytes());
    let sum = crc32c(&bytes[..156]);
    bytes[156..160].copy_from_slice(&sum.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NewerFormat {
                found: 99,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

/// Written out, so that the test does not trust the code it tests.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82F6_3B78 * (sum & 1))
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[test]
fn two_files_for_one_segment_are_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.commit("one").unwrap();
    wal.close().unwrap();
    let twin = dir.path().join("000000000001-00000000000000000009.wal");
    fs::copy(segment_files(dir.path()).pop().unwrap(), &twin).unwrap();
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("both claim segment 1"), "{error}");
}

#[test]
fn a_segment_of_another_log_is_refused_and_deletes_nothing() {
    let (mine, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&mine, &other] {
        let wal = open(dir.path()).unwrap();
        wal.commit("one").unwrap();
        wal.close().unwrap();
    }
    // The other log's third open writes segment 3: copy it over mine's end.
    for _ in 0..2 {
        let wal = open(other.path()).unwrap();
        wal.commit("more").unwrap();
        wal.close().unwrap();
    }
    let foreign = segment_files(other.path()).pop().unwrap();
    fs::copy(&foreign, mine.path().join(foreign.file_name().unwrap())).unwrap();
    let before = segment_files(mine.path());
    assert!(matches!(open(mine.path()), Err(Error::Lost { .. })));
    assert_eq!(segment_files(mine.path()), before);
    fs::remove_file(mine.path().join(foreign.file_name().unwrap())).unwrap();
    let wal = open(mine.path()).unwrap();
    assert_eq!(
        wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count(),
        1
    );
}

#[test]
fn a_truncated_and_a_zeroed_segment_are_reported() {
    for damage in [truncate as fn(&Path), zero] {
        let dir = tempfile::tempdir().unwrap();
        let wal = open(dir.path()).unwrap();
        for n in 0..60u8 {
            wal.commit(vec![n; 40_000]).unwrap();
        }
        wal.close().unwrap();
        let files = segment_files(dir.path());
        assert!(files.len() >= 3);
        damage(&files[1]);
        let all = open(dir.path()).and_then(|wal| {
            wal.reader(Lsn::ZERO)?
                .map(|record| record.map(|_| ()))
                .collect::<Result<Vec<_>, _>>()
        });
        assert!(matches!(all, Err(Error::Lost { .. })), "{all:?}");
    }
}

fn truncate(file: &Path) {
    fs::OpenOptions::new()
        .write(true)
        .open(file)
        .unwrap()
        .set_len(100_000)
        .unwrap();
}

fn zero(file: &Path) {
    let length = fs::metadata(file).unwrap().len();
    fs::write(file, vec![0; usize::try_from(length).unwrap()]).unwrap();
}
