//! G6: a forked child has its parent's files, lock and queue, but not its committer thread. What it
//! asks of the log is refused at once; nothing of it is stored, and the parent goes on.
#![cfg(unix)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fork::{Fork, fork, waitpid};
use wal_core::{Durability, Error, Lsn, Options, StorageError, Wal};
use wal_fs::FileStorage;

/// A fork copies locks as they are: no other test may hold one just then.
static ALONE: Mutex<()> = Mutex::new(());

fn is_refused<T>(result: Result<T, Error>) -> bool {
    let in_use = |cause: &StorageError| matches!(cause, StorageError::InUse(_));
    match result {
        Err(Error::Storage(cause) | Error::Poisoned { cause, .. }) => in_use(&cause),
        _ => false,
    }
}

/// What a child finds, as a number that can be an exit code: which of its calls was not refused.
fn first_call_that_is_not_refused(wal: &Wal) -> i32 {
    let refused = [
        is_refused(wal.append("of the child").and_then(|commit| commit.wait())),
        is_refused(wal.append_with("of the child", Durability::Accepted)),
        is_refused(wal.set_hold("of the child", Lsn::ZERO)),
        is_refused(wal.truncate(Lsn::ZERO)),
        is_refused(wal.commit("of the child")),
    ];
    let found = refused.iter().position(|refused| !refused);
    found.map_or(0, |at| i32::try_from(at).unwrap_or(0) + 1)
}

#[test]
fn a_forked_child_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let open = || Wal::open(FileStorage::open(dir.path()).unwrap(), Options::default()).unwrap();
    let (wal, _) = open();
    wal.commit("before").unwrap();
    // Nothing is under way, so no lock is held that the child could wait for.
    std::thread::sleep(Duration::from_millis(50));
    match fork().unwrap() {
        Fork::Child => {
            let code = first_call_that_is_not_refused(&wal);
            drop(wal); // must not close the parent's log
            std::process::exit(code);
        }
        Fork::Parent(child) => {
            let status = waitpid(child).unwrap();
            assert_eq!(status, 0, "call {} was not refused", status >> 8);
        }
    }
    wal.commit("after").unwrap();
    wal.close().unwrap();
    let (wal, recovery) = open();
    assert!(recovery.clean);
    let records: Vec<_> = wal.reader(Lsn::ZERO).unwrap().collect();
    let records = records.into_iter().map(|record| record.unwrap().payload);
    assert_eq!(records.collect::<Vec<_>>(), ["before", "after"]);
}

/// The child is made while appends of the parent are queued, which it will never see stored.
#[test]
fn a_child_does_not_wait_for_what_only_its_parent_can_store() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        linger: Duration::from_millis(300), // so that they are queued still
        ..Options::default()
    };
    let (wal, _) = Wal::open(FileStorage::open(dir.path()).unwrap(), options).unwrap();
    wal.commit("before").unwrap();
    let queued = wal.append("queued").unwrap();
    let lazy = wal.append_with("lazy", Durability::Accepted).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    match fork().unwrap() {
        Fork::Child => {
            let begun = Instant::now();
            let waited = is_refused(queued.wait());
            let accepted = is_refused(lazy.wait());
            let reached = is_refused(wal.reached(wal.end()).wait());
            let joined = is_refused(wal.append("of the child").and_then(|commit| commit.wait()));
            let soon = begun.elapsed() < Duration::from_secs(5);
            std::process::exit(i32::from(
                !(waited && accepted && reached && joined && soon),
            ));
        }
        Fork::Parent(child) => assert_eq!(waitpid(child).unwrap(), 0),
    }
    queued.wait().unwrap();
    lazy.wait().unwrap();
    wal.close().unwrap();
}

/// Who waits for its turn to drive waits for a thread that a child does not have, and locks may be held
/// by such threads.
#[test]
fn a_child_made_in_the_middle_of_commits_is_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(FileStorage::open(dir.path()).unwrap(), Options::default()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    wal.commit("of the parent").unwrap();
                }
            });
        }
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(3));
            match fork().unwrap() {
                Fork::Child => {
                    let refused = is_refused(wal.commit("of the child"));
                    std::process::exit(i32::from(!refused));
                }
                Fork::Parent(child) => assert_eq!(waitpid(child).unwrap(), 0),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    wal.close().unwrap();
}
