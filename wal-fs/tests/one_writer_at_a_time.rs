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

/// A child that was started and has not become its program yet has the lock's file open, too.
#[cfg(unix)]
#[test]
fn a_child_that_is_being_started_does_not_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    // A directory of its own: then it is started by `fork` and `exec`.
                    let mut child = std::process::Command::new("true");
                    let started = child.current_dir("/").status();
                    assert!(started.is_ok());
                }
            });
        }
        let mut refused = 0;
        for _ in 0..300 {
            let opened = Wal::open(FileStorage::open(dir.path()).unwrap(), options());
            refused += u32::from(opened.is_err());
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(refused, 0, "the lock outlived its handle");
    });
}
