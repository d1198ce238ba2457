//! G1, G2, G3 on files: the process stops at any call of a workload that rolls, releases and
//! recycles, and then the power fails, in many ways: each fate of what was not synced, of data,
//! names and lengths, is another disk.

mod support;

use support::{BOTH, append_more, seeds, struck};
use wal_fs::sim::Fault;

/// Disks that are tried for each call.
const FATES: u64 = if cfg!(debug_assertions) { 3 } else { 8 };

#[test]
fn at_every_call() {
    for seed in seeds(1) {
        for metadata in BOTH {
            let mut at = 0;
            while let Some((stopped, oracle, wal)) = struck(seed + 2000, metadata, at, Fault::Kill)
            {
                drop(wal);
                for fate in 0..FATES {
                    let disk = stopped.fork((seed << 40) + (at << 8) + fate);
                    let mut oracle = oracle.clone();
                    disk.crash();
                    let wal = oracle.reopen(&disk, true);
                    append_more(&disk, &mut oracle, &wal);
                    disk.crash();
                    drop(wal);
                    drop(oracle.reopen(&disk, true));
                }
                at += 1;
            }
            assert!(at > 150, "the workload made only {at} calls");
        }
    }
}
