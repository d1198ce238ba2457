//! G7: no space, at each call in its turn, once or for good. Before a frame's first byte that
//! is `Full`, and the log goes on; opening, reading, releasing and closing go on without a
//! free byte; only in the middle of a frame it is G5's.

mod support;

use support::{BOTH, Oracle, Outcome, append_more, open, seeds, struck, workload};
use wal_core::Durability;
use wal_fs::sim::{Fault, Metadata, SimDisk};

/// One call finds no space.
fn once(metadata: Metadata, seed: u64) {
    let mut at = 0;
    while let Some((disk, mut oracle, wal)) = struck(seed, metadata, at, Fault::NoSpace) {
        if let Some(wal) = wal {
            if disk.struck_call() == Some("write") {
                // In the middle of a frame, or of zeros ahead of it, which do not matter.
                oracle.append(&wal, &[1], Durability::Durable);
            } else {
                assert_eq!(wal.durable().get() as usize, oracle.end());
                append_more(&disk, &mut oracle, &wal); // nothing broke, and it goes on
            }
        }
        disk.crash();
        let wal = oracle.reopen(&disk, true);
        append_more(&disk, &mut oracle, &wal);
        at += 1;
    }
    assert!(at > 150, "the workload made only {at} calls");
}

/// From some call on there is no space at all.
fn for_good(metadata: Metadata, seed: u64) {
    for at in 0.. {
        let disk = SimDisk::new((seed << 32) + at, metadata);
        let mut oracle = Oracle::default();
        let (wal, _) = open(&disk).unwrap();
        drop(wal);
        disk.at(at, Fault::Full);
        let wal = workload(&disk, &mut oracle);
        if !disk.has_struck() {
            assert!(at > 100, "the workload made only {at} calls");
            break;
        }
        let trace = || disk.trace().join("\n");
        let wal = wal.unwrap_or_else(|| panic!("did not open when full\n{}", trace()));
        let outcome = oracle.append(&wal, &[1], Durability::Durable);
        assert_ne!(outcome, Outcome::Broken, "{}", trace());
        // Killed again and again, it opens again and again.
        for _ in 0..3 {
            disk.kill();
            let wal = oracle.reopen(&disk, false);
            let outcome = oracle.append(&wal, &[1], Durability::Durable);
            assert_ne!(outcome, Outcome::Broken, "{}", trace());
        }
        drop(wal);
        disk.kill();
        let wal = oracle.reopen(&disk, false);
        disk.set_free(1 << 30);
        append_more(&disk, &mut oracle, &wal);
        disk.crash();
        drop(oracle.reopen(&disk, true));
    }
}

#[test]
fn one_call_without_space() {
    for seed in seeds(1) {
        for metadata in BOTH {
            once(metadata, seed);
        }
    }
}

#[test]
fn no_space_from_a_call_on() {
    for seed in seeds(1) {
        for metadata in BOTH {
            for_good(metadata, seed);
        }
    }
}

/// A segment's name that found no space is taken back; the next one may have the same number and
/// another first LSN. A power cut never leaves both.
fn taken_back(seed: u64, free: u64) -> bool {
    let mut refused = false;
    for at in 0.. {
        let disk = SimDisk::new((seed << 32) + at, Metadata::Strict);
        let mut oracle = Oracle::default();
        let (wal, _) = open(&disk).unwrap();
        for _ in 0..3 {
            oracle.append(&wal, &[14_000], Durability::Durable);
        }
        disk.set_free(free);
        for _ in 0..4 {
            refused |= oracle.append(&wal, &[14_000], Durability::Durable) == Outcome::Full;
        }
        oracle.append(&wal, &[1], Durability::Durable);
        disk.set_free(1 << 30);
        disk.at(at, Fault::Crash);
        for _ in 0..6 {
            oracle.append(&wal, &[15_000], Durability::Durable);
        }
        if !disk.has_struck() {
            break;
        }
        drop(wal);
        drop(oracle.reopen(&disk, true));
    }
    refused
}

#[test]
fn a_name_that_was_taken_back_does_not_come_back() {
    for seed in seeds(4) {
        let free = [0, 20_000, 80_000, 150_000];
        let refused = free.map(|free| taken_back(seed, free));
        assert!(
            refused.contains(&true),
            "there was space for all: {refused:?}"
        );
    }
}
