//! Wrong paths, foreign files, damaged and newer logs: an error that names the thing.

use std::fs;
use std::path::Path;

use wal_core::{Error, Lsn, Options, Wal};
use wal_fs::FileStorage;
use wal_fs::sim::{Fault, Metadata, SimDisk};

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

/// What an open for writing and an inspection say; both must name the thing.
fn refusals(path: &Path) -> [String; 2] {
    let written = open(path).unwrap_err().to_string();
    let read = FileStorage::open(path).map_err(Error::from);
    let read = read.and_then(Wal::inspect).unwrap_err().to_string();
    [written, read]
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

/// A log with one segment, and the file of the segment.
fn small_log() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    wal.commit("one").unwrap();
    wal.close().unwrap();
    let file = segment_files(dir.path()).pop().unwrap();
    (dir, file)
}

#[test]
fn a_segment_that_is_a_directory_is_named() {
    let (dir, file) = small_log();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    for error in refusals(dir.path()) {
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(error.contains("is a directory"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_segment_that_is_a_symbolic_link_is_refused_and_its_target_left_alone() {
    let (dir, file) = small_log();
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    for error in refusals(dir.path()) {
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(error.contains("is a symbolic link"), "{error}");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
}

#[cfg(unix)]
#[test]
fn names_that_the_log_writes_are_not_followed_elsewhere() {
    for name in ["LOCK", "reserve", "spare.ready", "spare.building"] {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        let log = dir.path().join("log");
        fs::create_dir(&log).unwrap();
        std::os::unix::fs::symlink(&victim, log.join(name)).unwrap();
        match open(&log).and_then(|wal| wal.commit("one").map(|_| wal)) {
            Ok(wal) => wal.close().unwrap(), // it did without
            Err(error) => assert!(error.to_string().contains("symbolic link"), "{error}"),
        }
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_hang_the_open() {
    let (dir, file) = small_log();
    fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    for error in refusals(dir.path()) {
        assert!(error.contains(&file.display().to_string()), "{error}");
        assert!(error.contains("is a pipe"), "{error}");
    }
}

#[test]
fn a_lock_that_is_a_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("LOCK");
    fs::create_dir(&lock).unwrap();
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains(&lock.display().to_string()), "{error}");
    assert!(error.contains("is a directory"), "{error}");
}

/// G6: and reading it needs no right to change anything.
#[test]
fn a_place_that_may_not_be_changed_is_named_and_can_be_read() {
    for (fault, says) in [(Fault::ReadOnly, "read-only"), (Fault::Denied, "ermission")] {
        let disk = SimDisk::new(1, Metadata::Journalled);
        let (wal, _) = Wal::open(disk.storage("/srv/log").unwrap(), options()).unwrap();
        wal.commit("one").unwrap();
        wal.close().unwrap();
        disk.at(0, fault);
        let found = Wal::inspect(disk.storage("/srv/log").unwrap()).unwrap();
        assert_eq!(found.end, Lsn::new(1));
        let view = Wal::open_read_only(disk.storage("/srv/log").unwrap()).unwrap();
        assert_eq!(view.refresh().unwrap(), Lsn::new(1));
        let mut read = view.reader(Lsn::ZERO).unwrap();
        assert_eq!(read.next().unwrap().unwrap().payload, "one");
        let error = Wal::open(disk.storage("/srv/log").unwrap(), options());
        let error = error.unwrap_err().to_string();
        assert!(error.contains("/srv/log/LOCK"), "{error}");
        assert!(error.contains(says), "{error}");
        let error = disk.storage("/srv/other").unwrap_err().to_string();
        assert!(error.contains("/srv/other"), "{error}");
    }
}
