//! G5: one call fails with `EIO`, each in its turn. What was acknowledged before and after is
//! there when the log is opened again, also when the failed sync's pages looked clean; a
//! poisoned handle takes nothing more.

mod support;

use support::{BOTH, append_more, seeds, struck};
use wal_fs::sim::{Fault, Metadata};

fn at_every_call(metadata: Metadata, seed: u64) {
    let mut at = 0;
    while let Some((disk, mut oracle, wal)) = struck(seed, metadata, at, Fault::Error) {
        drop(wal);
        // The page cache may forget what a failed sync has lost.
        let killed = at % 2 == 0;
        if killed {
            disk.kill();
        }
        let wal = oracle.reopen(&disk, killed);
        append_more(&disk, &mut oracle, &wal);
        disk.crash();
        drop(wal);
        let wal = oracle.reopen(&disk, true);
        append_more(&disk, &mut oracle, &wal);
        at += 1;
    }
    assert!(at > 150, "the workload made only {at} calls");
}

#[test]
fn journalled() {
    seeds(2).for_each(|seed| at_every_call(BOTH[0], seed));
}

#[test]
fn strict() {
    seeds(2).for_each(|seed| at_every_call(BOTH[1], seed));
}
