//! G1 to G5, G7, G8, G10 on files: random histories of appends, power cuts, kills, failed writes,
//! full disks and all else that can be done to a log, on a simulated disk, against the model of
//! `wal_core::conformance`; and damage at their end.

use wal_core::conformance::model::{Harm, Model, Op, Setup, random};
use wal_fs::sim::{Metadata, SimDisk};

/// `WAL_SIM_SEEDS`: more for a longer run; `WAL_SIM_FIRST`: where they begin.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let first = number("WAL_SIM_FIRST").unwrap_or(0);
    first..first + number("WAL_SIM_SEEDS").unwrap_or(60)
}

fn run(seed: u64, metadata: Metadata) {
    let choose = &mut random(seed);
    let disk = SimDisk::new(seed, metadata);
    disk.noise(choose(2) == 1);
    let mut model = Model::new(disk, Setup::new(choose(2) == 1));
    for _ in 0..choose(80) {
        model.run(Op::choose(choose));
    }
    model.end((choose(3) > 0).then(|| Harm::choose(choose)));
}

fn run_all(metadata: Metadata) {
    for seed in seeds() {
        let ran = std::panic::catch_unwind(|| run(seed, metadata));
        if let Err(panic) = ran {
            eprintln!("seed {seed}, {metadata:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn journalled() {
    run_all(Metadata::Journalled);
}

#[test]
fn strict() {
    run_all(Metadata::Strict);
}
