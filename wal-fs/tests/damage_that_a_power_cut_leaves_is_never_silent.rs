//! G4 on files: the power fails at any call of a writer that appends and rolls, and takes the newest
//! segment along, or its header. Either the log does not open, or all that was acknowledged is there.
//!
//! The seal of the segment before tells that there was another one; only the first segment of a
//! writer has none before it (U4 in CRASH_MODEL.md), and here that is the log's first.

mod support;

use support::{BOTH, Oracle, Outcome, open, seeds, segments};
use wal_core::Durability;
use wal_fs::sim::{Fault, Metadata, SimDisk};

/// One writer's appends until the fault strikes; `false` if it does not.
fn write_until(disk: &SimDisk, oracle: &mut Oracle) -> bool {
    let Ok((wal, _)) = open(disk) else {
        return true;
    };
    for step in 0..24 {
        let lengths: &[usize] = if step % 3 == 0 { &[100, 20] } else { &[14_000] };
        let durability = match step % 4 {
            3 => Durability::Accepted,
            _ => Durability::Durable,
        };
        if oracle.append(&wal, lengths, durability) == Outcome::Broken {
            return true;
        }
    }
    disk.has_struck()
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Lose,
    Header,
}

fn harm_the_newest(disk: &SimDisk, harm: Harm) -> bool {
    let all = segments(disk);
    let Some(newest) = all.iter().max().filter(|_| all.len() > 1) else {
        return false; // of a log that is gone altogether nothing is left to tell (U3)
    };
    match harm {
        Harm::Lose => disk.lose(newest),
        Harm::Header => {
            let mut bytes = disk.contents(newest).unwrap();
            bytes.iter_mut().take(64).for_each(|byte| *byte ^= 0xee);
            disk.put(newest, bytes);
        }
    }
    true
}

fn at_every_call(metadata: Metadata, seed: u64) {
    let mut noticed = 0;
    for at in 0.. {
        let disk = SimDisk::new((seed << 32) + at, metadata);
        let mut oracle = Oracle::default();
        disk.at(at, Fault::Crash);
        if !write_until(&disk, &mut oracle) {
            break;
        }
        for harm in [Harm::Lose, Harm::Header] {
            let disk = disk.fork(at);
            if !harm_the_newest(&disk, harm) {
                continue;
            }
            match open(&disk) {
                Err(_) => noticed += 1,
                Ok((_, found)) => {
                    oracle.must_reach(&disk, found.end.get(), &format!("{harm:?} at {at}"))
                }
            }
        }
    }
    assert!(
        noticed > 20,
        "only {noticed} times was there something to notice"
    );
}

#[test]
fn the_newest_segment_is_missed() {
    for seed in seeds(1) {
        for metadata in BOTH {
            at_every_call(metadata, seed);
        }
    }
}
