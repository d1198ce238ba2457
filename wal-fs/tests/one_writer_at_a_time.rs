//! G6: a second writer's open fails and names the holder; the lock ends with the handle.

use wal_core::{Error, Lsn, Options, StorageError, Wal};
use wal_fs::FileStorage;

fn options() -> Options {
    Options {
        segment_bytes: 1 << 20,
        append_bytes: 64 << 10,
        ..Options::default()
    }
}

#[test]
fn a_second_handle_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Wal::open(FileStorage::open(dir.path()).unwrap(), options());
    let (wal, _) = open().unwrap();
    wal.commit("mine").unwrap();
    let refused = open().unwrap_err();
    let Error::Storage(StorageError::InUse(text)) = &refused else {
        panic!("{refused}");
    };
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    assert!(text.contains(&dir.path().display().to_string()), "{text}");
    wal.commit("still mine").unwrap();
    wal.close().unwrap();
    let (wal, recovery) = open().unwrap();
    assert!(recovery.clean);
    assert_eq!(
        wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count(),
        2
    );
}

#[test]
fn a_failed_open_gives_the_lock_back() {
    let dir = tempfile::tempdir().unwrap();
    let bad = Options {
        segment_bytes: 1,
        ..options()
    };
    assert!(Wal::open(FileStorage::open(dir.path()).unwrap(), bad).is_err());
    assert!(Wal::open(FileStorage::open(dir.path()).unwrap(), options()).is_ok());
}

#[test]
fn a_log_can_be_inspected_while_it_is_written_and_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(FileStorage::open(dir.path()).unwrap(), options()).unwrap();
    wal.commit(["a", "b"]).unwrap();
    let storage = FileStorage::open(dir.path()).unwrap();
    let holder = storage.writer().unwrap();
    assert_eq!(holder, Some(format!("process {}", std::process::id())));
    let found = Wal::inspect(storage).unwrap();
    assert_eq!(
        (found.end, found.log, found.clean),
        (Lsn::new(2), wal.identity(), false)
    );
    wal.commit("c").unwrap();
    wal.close().unwrap();

    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
            .into_iter()
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect::<Vec<_>>()
    };
    let before = files();
    let storage = FileStorage::open(dir.path()).unwrap();
    assert_eq!(storage.writer().unwrap(), None);
    let found = Wal::inspect(storage).unwrap();
    assert_eq!((found.end, found.clean), (Lsn::new(3), true));
    assert!(before == files());
}
