//! G1, G2, G5: the power fails at every call of a recovery, and at every call of the recovery
//! of that recovery.

mod support;

use support::{BOTH, Oracle, append_more, open, seeds, struck};
use wal_core::Durability;
use wal_fs::sim::{Fault, Metadata, SimDisk};

/// How many of the latter.
const NAMES: usize = 2;

/// Disks on which a writer left something to recover: stopped anywhere, and killed where the name of a
/// segment was about to become durable.
fn left_behind(metadata: Metadata, seed: u64) -> Vec<(SimDisk, Oracle)> {
    let anywhere = [61, 117, 190].into_iter().filter_map(|at| {
        let at = at + seed * 7 % 60;
        let fault = if at.is_multiple_of(2) {
            Fault::Crash
        } else {
            Fault::Kill
        };
        let (disk, oracle, _) = struck(seed, metadata, at, fault)?;
        Some((disk, oracle))
    });
    let names = (40..).map_while(|at| struck(seed, metadata, at, Fault::Kill));
    let names = names.filter(|(disk, _, _)| disk.struck_call() == Some("sync_directory"));
    let names = names.map(|(disk, oracle, _)| (disk, oracle));
    anywhere.chain(names.take(NAMES)).collect()
}

/// Opens, appends one record, and crashes; returns whether that was before it was through.
fn crashes_at(disk: &SimDisk, oracle: &mut Oracle, at: u64) -> bool {
    disk.at(at, Fault::Crash);
    let wal = open(disk).ok();
    if let Some((wal, recovery)) = wal {
        oracle.check(disk, &recovery, true);
        oracle.append(&wal, &[100], Durability::Durable);
    }
    let before = disk.has_struck();
    disk.crash();
    before
}

fn recovers(disk: &SimDisk, oracle: &mut Oracle) {
    drop(oracle.reopen(disk, true));
    disk.kill();
    let wal = oracle.reopen(disk, true);
    append_more(disk, oracle, &wal);
}

fn at_every_call(metadata: Metadata, seed: u64) {
    for (disk, oracle) in left_behind(metadata, seed) {
        for first in 0.. {
            let (disk, mut oracle) = (disk.fork(first), oracle.clone());
            // What a kill leaves in the page cache is promised to the next process only.
            oracle.power_was_lost();
            if !crashes_at(&disk, &mut oracle, first) {
                assert!(first > 10);
                break;
            }
            for second in 0.. {
                let (disk, mut oracle) = (disk.fork(second), oracle.clone());
                let early = crashes_at(&disk, &mut oracle, second);
                recovers(&disk, &mut oracle);
                if !early {
                    break;
                }
            }
        }
    }
}

#[test]
fn and_recovering_from_that_neither() {
    for seed in seeds(1) {
        std::thread::scope(|scope| {
            for metadata in BOTH {
                scope.spawn(move || at_every_call(metadata, seed));
            }
        });
    }
}
