//! G1, G2, G3, G5 on files: the power fails, or the process ends, at every single call to the
//! file system of a workload that rolls, releases, recycles, closes and opens. What was
//! acknowledged is there, nothing else than what was appended is, and the log goes on.

mod support;

use support::{BOTH, append_more, seeds, struck};
use wal_fs::sim::{Fault, Metadata};

/// At every call: the fault, an open, more appends, power loss, an open, a clean close, an open.
fn at_every_call(metadata: Metadata, seed: u64, fault: Fault) {
    let mut at = 0;
    while let Some((disk, mut oracle, wal)) = struck(seed, metadata, at, fault) {
        drop(wal);
        let wal = oracle.reopen(&disk, fault == Fault::Crash);
        append_more(&disk, &mut oracle, &wal);
        disk.crash();
        drop(wal);
        let wal = oracle.reopen(&disk, true);
        append_more(&disk, &mut oracle, &wal);
        wal.close().unwrap();
        disk.crash();
        drop(oracle.reopen(&disk, true));
        at += 1;
    }
    assert!(at > 150, "the workload made only {at} calls");
}

#[test]
fn power_loss() {
    for seed in seeds(2) {
        for metadata in BOTH {
            at_every_call(metadata, seed, Fault::Crash);
        }
    }
}

#[test]
fn the_end_of_the_process() {
    for seed in seeds(1) {
        for metadata in BOTH {
            at_every_call(metadata, seed + 1000, Fault::Kill);
        }
    }
}
