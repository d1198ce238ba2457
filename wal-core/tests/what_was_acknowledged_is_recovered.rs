//! G1 to G5, G7, G8, G10: under random appends, crashes, kills, failed syncs, full disks, closes,
//! releases, holds, rewinds and truncations, with and without compression, recovery returns a
//! prefix of what was appended, at an append's boundary, that holds everything acknowledged; and
//! it returns it unchanged, in order and record by record. Receipts agree, named holds hold, and
//! damage done to what lies there at the end is noticed. The oracle is `conformance::model`.

use proptest::prelude::*;
use wal_core::conformance::Watchdog;
use wal_core::conformance::model::{Harm, Model, Op, Setup};
use wal_core::sim::SimStorage;
use wal_core::{Limits, Storage};

/// A history is what a row of numbers chooses; proptest makes failing rows shorter and smaller.
fn choices() -> impl Strategy<Value = Vec<u16>> {
    prop::collection::vec(any::<u16>(), 4..500)
}

fn run(disk: SimStorage, choices: Vec<u16>) {
    let _watchdog = Watchdog::over("a history");
    let mut left = choices.into_iter();
    let mut choose = |bound: u64| u64::from(left.next().unwrap_or(0)) % bound;
    let setup = Setup::new(choose(2) == 1);
    let harm = (choose(3) > 0).then(|| Harm::choose(&mut choose));
    let mut model = Model::new(disk, setup);
    while left.len() > 0 {
        let mut choose = |bound: u64| u64::from(left.next().unwrap_or(0)) % bound;
        model.run(Op::choose(&mut choose));
    }
    model.end(harm);
}

/// `WAL_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("WAL_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let usual = if cfg!(debug_assertions) { 128 } else { 1024 };
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(asked.unwrap_or(usual))
    }
}

fn overtaking() -> Limits {
    Limits {
        align: 1,
        in_flight: 4,
        append_bytes: 1 << 20,
        ..Limits::default()
    }
}

fn ordered() -> Limits {
    Limits {
        segment_appends: 5,
        in_order: true,
        ..overtaking()
    }
}

/// Each row of the file: the storage's limits, its seed, and what chose the steps. Threads make
/// every run a little different, so each is run more than once.
#[test]
fn histories_that_failed_once() {
    let rows = include_str!("histories/failed_once.txt").lines();
    for row in rows.filter(|row| !row.starts_with('#')) {
        let mut words = row.split(' ');
        let limits = match words.next() {
            Some("overtake") => overtaking(),
            Some("ordered") => ordered(),
            _ => SimStorage::new(1).limits(),
        };
        let seed = words.next().and_then(|seed| seed.parse().ok());
        let choices = words.next().unwrap_or_default().split(',');
        let choices: Vec<u16> = choices.map(|choice| choice.parse().unwrap()).collect();
        for _ in 0..10 {
            run(
                SimStorage::with_limits(seed.unwrap(), limits),
                choices.clone(),
            );
        }
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn on_a_disk_with_one_append_in_flight(seed in any::<u64>(), choices in choices()) {
        run(SimStorage::new(seed), choices);
    }

    #[test]
    fn on_a_store_whose_appends_overtake_each_other(seed in any::<u64>(), choices in choices()) {
        run(SimStorage::with_limits(seed, overtaking()), choices);
    }

    #[test]
    fn on_a_store_that_keeps_the_order(seed in any::<u64>(), choices in choices()) {
        run(SimStorage::with_limits(seed, ordered()), choices);
    }
}
