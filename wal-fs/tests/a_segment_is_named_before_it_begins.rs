//! What a log does for the segment that comes next: it has its name before its first frame, and the name
//! becomes durable beside the commit before or beside that frame. Until then nobody sees it; and if
//! the log goes on elsewhere, it is not in the way.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use support::{BOTH, Oracle, append_more, first, open, segments};
use wal_core::{Append, Durability, Error, Lsn, Wal};
use wal_fs::sim::{Fault, Metadata, SimDisk};

/// A log that has released enough for its next segments to be used again.
fn used(seed: u64, metadata: Metadata) -> (SimDisk, Oracle, Wal) {
    let (disk, mut oracle) = (SimDisk::new(seed, metadata), Oracle::default());
    let (wal, _) = open(&disk).unwrap();
    for _ in 0..3 {
        append_more(&disk, &mut oracle, &wal);
    }
    oracle.release(&wal, &disk);
    (disk, oracle, wal)
}

/// A log with a segment that was announced and has not begun, and its file.
fn announced(seed: u64, metadata: Metadata) -> (SimDisk, Oracle, Wal, PathBuf) {
    let (disk, mut oracle, wal) = used(seed, metadata);
    let coming = announce_another(&disk, &mut oracle, &wal);
    (disk, oracle, wal, coming)
}

fn announce_another(disk: &SimDisk, oracle: &mut Oracle, wal: &Wal) -> PathBuf {
    for _ in 0..100 {
        oracle.append(wal, &[9000], Durability::Durable);
        let newest = segments(disk).pop();
        if let Some(coming) = newest.filter(|path| first(path) == wal.end().get()) {
            return coming;
        }
    }
    panic!("nothing was announced: {:?}", segments(disk));
}

/// The simulated disk has no threads; the name is synced by turns before the first frame and after it.
#[test]
fn its_name_is_durable_with_its_first_commit() {
    for metadata in BOTH {
        let mut orders = BTreeSet::new();
        for seed in 0..4 {
            let (disk, mut oracle, wal, _) = announced(seed, metadata);
            for _ in 0..seed {
                announce_another(&disk, &mut oracle, &wal);
            }
            let before = (disk.calls_of("sync_directory"), disk.calls_of("rename"));
            let newest = wal.newest_segment();
            oracle.append(&wal, &[9000], Durability::Durable);
            assert!(wal.newest_segment() > newest, "it has not begun");
            let after = (disk.calls_of("sync_directory"), disk.calls_of("rename"));
            assert_eq!(before.1, after.1, "{}", disk.trace().join("\n"));
            orders.insert(after.0 - before.0);
            disk.crash();
            drop(wal);
            let wal = oracle.reopen(&disk, true);
            oracle.read(&disk, &wal);
        }
        assert_eq!(orders, BTreeSet::from([0, 1]));
    }
}

#[test]
fn a_reader_a_kill_a_power_cut_and_a_close_see_nothing_of_it() {
    for seed in 0..20 {
        for metadata in BOTH {
            let (disk, mut oracle, wal, coming) = announced(seed, metadata);
            let view = Wal::open_read_only(disk.storage(support::LOG).unwrap()).unwrap();
            // What the log itself attests: all but its last frame.
            assert_eq!(view.durable().get() + 1, wal.end().get());
            drop(view);
            match seed % 3 {
                0 => disk.kill(),
                1 => disk.crash(),
                _ => wal.close().unwrap(),
            }
            if seed % 3 == 2 {
                assert!(!segments(&disk).contains(&coming), "left behind by a close");
            }
            let wal = oracle.reopen(&disk, seed % 3 == 1);
            assert_eq!(wal.end().get() as usize, oracle.end());
            append_more(&disk, &mut oracle, &wal);
        }
    }
}

/// A truncation makes the next segment begin at another LSN.
#[test]
fn the_log_may_go_on_elsewhere() {
    for metadata in BOTH {
        for calls in 0..40 {
            let (disk, _, wal, coming) = announced(2, metadata);
            let to = Lsn::new(wal.end().get() - 1);
            disk.at(calls, Fault::Crash);
            let _ = wal
                .truncate(to)
                .and_then(|()| wal.commit("instead").map(drop));
            let struck = disk.has_struck();
            disk.crash();
            drop(wal);
            let (wal, _) = open(&disk).unwrap();
            if !struck {
                let last = wal.reader(to).unwrap().next().unwrap().unwrap();
                assert_eq!(last.payload[..], *b"instead");
                assert!(!segments(&disk).contains(&coming));
            }
            wal.commit("more").unwrap();
            assert_eq!(
                wal.reader(wal.oldest()).unwrap().count() as u64,
                wal.end().get() - wal.oldest().get()
            );
        }
    }
}

/// The sync of the directory fails beside a commit that has nothing to do with it. The next
/// segment cannot begin after that: what is durable of its name is not known.
#[test]
fn a_name_that_could_not_be_synced_ends_the_log() {
    let mut failed = 0;
    for calls in 0..30 {
        let (disk, _, wal) = used(3, Metadata::Strict);
        disk.at(calls, Fault::Error);
        let group = || Append::from(vec![7; 9000]);
        let outcome = (0..20).find_map(|_| wal.commit(group()).err());
        if disk.struck_call() != Some("sync_directory") {
            continue;
        }
        failed += 1;
        assert!(
            matches!(outcome, Some(Error::Poisoned { .. })),
            "{outcome:?}"
        );
        let end = wal.durable();
        disk.crash();
        drop(wal);
        let (wal, _) = open(&disk).unwrap();
        // What was acknowledged; and of the commit that failed beside the sync, all or nothing.
        assert!(
            [end, Lsn::new(end.get() + 1)].contains(&wal.end()),
            "{}",
            wal.end()
        );
    }
    assert!(failed > 0, "no sync of a directory was met");
}
