//! Recycling: a deleted segment of full length becomes a spare for the next one, at most two
//! are kept, they outlive the process, and what they hold never counts. (That a crash never
//! shows an old name over new content is checked by `support::check_names`, at every call.)

mod support;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use support::{LOG, Oracle, Outcome, append_more, check_names, open, options, segments};
use wal_core::{Durability, IoFuture, Lsn, Options, Position, SegmentId, Storage, Sync, Wal};
use wal_fs::sim::{Fault, Metadata, SimDisk};

fn disk() -> SimDisk {
    SimDisk::new(1, Metadata::Strict)
}

fn spares(disk: &SimDisk) -> Vec<u64> {
    let files = disk.files().into_iter();
    files
        .filter(|(path, _)| path.starts_with(LOG) && name(path).starts_with("spare"))
        .map(|(_, bytes)| bytes)
        .collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Fills some segments and releases all but the newest.
fn fill_and_release(disk: &SimDisk, oracle: &mut Oracle, wal: &Wal) {
    for _ in 0..3 {
        append_more(disk, oracle, wal);
    }
    // The next one may have been announced: then one more record begins it.
    for _ in 0..2 {
        assert_eq!(oracle.release(wal, disk), Outcome::Done);
        if segments(disk).len() == 1 {
            return;
        }
        oracle.append(wal, &[100], Durability::Durable);
    }
    panic!("{:?}", segments(disk));
}

#[test]
fn two_are_kept_and_the_next_segments_cost_no_space_and_no_unlinking() {
    let (disk, mut oracle) = (disk(), Oracle::default());
    let (wal, _) = open(&disk).unwrap();
    fill_and_release(&disk, &mut oracle, &wal);
    assert_eq!(spares(&disk), [64 << 10, 64 << 10]);
    for _ in 0..10 {
        let before = ["allocate", "remove"].map(|kind| disk.calls_of(kind));
        let opened = segments(&disk);
        while segments(&disk) == opened {
            oracle.append(&wal, &[9000], Durability::Durable);
        }
        assert_eq!(oracle.release(&wal, &disk), Outcome::Done);
        let after = ["allocate", "remove"].map(|kind| disk.calls_of(kind));
        assert_eq!(before, after, "{}", disk.trace().join("\n"));
    }
    assert!(
        disk.files()
            .iter()
            .all(|(path, _)| !name(path).ends_with(".gone"))
    );
}

#[test]
fn they_outlive_the_process_and_are_removed_if_segments_get_another_length() {
    let (disk, mut oracle) = (disk(), Oracle::default());
    let (wal, _) = open(&disk).unwrap();
    fill_and_release(&disk, &mut oracle, &wal);
    wal.close().unwrap();
    let wal = oracle.reopen(&disk, false);
    let before = disk.calls_of("allocate");
    append_more(&disk, &mut oracle, &wal);
    // One block, for the seal of the segment that the earlier writer closed and cut to its length.
    let expected = before + 1;
    assert_eq!(
        disk.calls_of("allocate"),
        expected,
        "the spares were not used"
    );
    oracle.release(&wal, &disk);
    wal.close().unwrap();

    assert!(!spares(&disk).is_empty());
    let larger = Options {
        segment_bytes: 128 << 10,
        ..options()
    };
    let (wal, _) = Wal::open(disk.storage(LOG).unwrap(), larger).unwrap();
    oracle.append(&wal, &[1], Durability::Durable);
    assert!(spares(&disk).iter().all(|bytes| *bytes == 128 << 10));
}

/// How many frames of other segments the newest one holds.
fn stale_frames(disk: &SimDisk) -> usize {
    let file = segments(disk).pop().unwrap();
    let number: u64 = name(&file)[..12].parse().unwrap();
    let bytes = disk.contents(file).unwrap();
    let frames = bytes.chunks(4096).filter(|block| block[..4] == *b"WALf");
    let others = frames.filter(|block| block[64..72] != number.to_le_bytes());
    others.count()
}

/// The file holds frames of its earlier use, behind the new end and all the way up.
#[test]
fn stale_frames_behind_the_end_are_not_recovered() {
    for seed in 0..20 {
        let (disk, mut oracle) = (SimDisk::new(seed, Metadata::Journalled), Oracle::default());
        let (wal, _) = open(&disk).unwrap();
        fill_and_release(&disk, &mut oracle, &wal);
        while stale_frames(&disk) < 2 {
            assert!(oracle.end() < 1000, "no file is used again");
            oracle.append(&wal, &[9000], Durability::Durable);
        }
        let end = oracle.end();
        disk.crash();
        drop(wal);
        let wal = oracle.reopen(&disk, true);
        assert_eq!(wal.end().get() as usize, end, "exactly the new end");
        append_more(&disk, &mut oracle, &wal);
    }
}

/// The power fails when the file has its new name and its first frame, and the name is undone:
/// what lies in the spare was never acknowledged, and must not come back.
#[test]
fn an_unfinished_segment_in_a_spare_does_not_come_back() {
    let (disk, mut oracle) = (disk(), Oracle::default());
    let (wal, _) = open(&disk).unwrap();
    fill_and_release(&disk, &mut oracle, &wal);
    wal.close().unwrap();
    let mut reached = 0;
    for seed in 0..150 {
        let (disk, mut oracle) = (disk.fork(seed), oracle.clone());
        // The name of the new segment is to be synced; next time, its first frame to be written.
        for (calls, kind) in [(7, "sync_directory"), (5, "write")] {
            let wal = oracle.reopen(&disk, true);
            disk.at(calls, Fault::Crash);
            oracle.append(&wal, &[8000], Durability::Durable);
            reached += usize::from(disk.struck_call() == Some(kind));
            disk.crash(); // or else the log went on in the segment that recovery began
        }
        check_names(&disk);
        let wal = oracle.reopen(&disk, true);
        append_more(&disk, &mut oracle, &wal);
    }
    assert!(reached > 160, "{reached}");
}

/// The seal of a segment may come after the segment was let go of. It goes nowhere: the file
/// may be another segment by then.
#[test]
fn what_comes_late_for_a_deleted_segment_is_not_written() {
    let disk = disk();
    let storage = disk.storage(LOG).unwrap();
    now(storage.acquire());
    now(storage.prepare(64 << 10));
    let at = |segment, offset| Position {
        segment: SegmentId::new(segment),
        offset,
        lsn: Lsn::ZERO,
    };
    let frame = || vec![Bytes::from(vec![7; 8192])];
    now(storage.append(at(1, 0), frame(), Sync::Yes));
    now(storage.append(at(2, 0), frame(), Sync::Yes));
    now(storage.delete_before(SegmentId::new(2)));
    let before = disk.calls_of("write");
    now(storage.append(at(1, 8192), frame(), Sync::No));
    assert_eq!(disk.calls_of("write"), before);
    now(storage.append(at(2, 8192), frame(), Sync::Yes));
    assert!(disk.calls_of("write") > before);
}

fn now<T>(future: IoFuture<T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("files block"),
    }
}

/// Whoever syncs every frame gets zeros ahead, also for large frames; bulk does not.
#[test]
fn zeros_are_written_ahead_for_logs_that_sync_and_only_for_them() {
    let (synced, bulk) = (disk(), disk());
    let mut oracle = Oracle::default();
    let (wal, _) = open(&synced).unwrap();
    for _ in 0..6 {
        oracle.append(&wal, &[25_000], Durability::Durable);
    }
    assert_eq!(spares(&synced), [64 << 10]);

    let mut oracle = Oracle::default();
    let (wal, _) = open(&bulk).unwrap();
    for _ in 0..200 {
        oracle.append(&wal, &[5_000], Durability::Accepted);
    }
    wal.sync().unwrap();
    assert!(spares(&bulk).is_empty());
}
