//! G1, G2 where durable frames go past the page cache: what was written before them and not synced
//! is durable along with them; and what somebody reads along is written through the cache.

mod support;

use support::{BOTH, open, seeds};
use wal_core::{Append, Durability, Lsn, Wal};
use wal_fs::sim::SimDisk;

/// Writes and syncs so far, and how many of the syncs were of a whole file.
fn calls(disk: &SimDisk) -> (u64, u64, usize) {
    let whole =
        |call: &&String| call.contains(" sync ") && call.contains("0..18446744073709551615");
    (
        disk.calls_of("write"),
        disk.calls_of("sync"),
        disk.trace().iter().filter(whole).count(),
    )
}

fn settled(disk: &SimDisk) -> Wal {
    let (wal, _) = open(disk).unwrap();
    // Enough that the log is known to sync its frames, and has a spare.
    for _ in 0..6 {
        wal.commit("settled").unwrap();
    }
    wal
}

#[test]
fn what_is_in_the_cache_becomes_durable_first() {
    for seed in seeds(40) {
        for metadata in BOTH {
            let disk = SimDisk::new(seed, metadata);
            let wal = settled(&disk);
            wal.append_with(Append::from("accepted"), Durability::Accepted)
                .unwrap()
                .wait()
                .unwrap();
            wal.commit("durable").unwrap();
            disk.crash();
            drop(wal);
            let (wal, recovery) = open(&disk).unwrap();
            assert_eq!(recovery.end, Lsn::new(8), "seed {seed}, {metadata:?}");
            assert_eq!(wal.reader(Lsn::ZERO).unwrap().count(), 8);
        }
    }
}

#[test]
fn a_lone_commit_is_one_write_unless_somebody_reads_along() {
    for metadata in BOTH {
        let disk = SimDisk::new(7, metadata);
        let wal = settled(&disk);
        let before = calls(&disk);
        wal.commit("past the cache").unwrap();
        let after = calls(&disk);
        assert_eq!((after.0, after.1), (before.0 + 1, before.1 + 1));
        assert_eq!(after.2, before.2, "no file was synced whole");

        assert_eq!(wal.reader(Lsn::ZERO).unwrap().count(), 7);
        let before = calls(&disk);
        wal.commit("read along").unwrap();
        assert_eq!(calls(&disk).2, before.2 + 1, "by way of the cache");
    }
}
