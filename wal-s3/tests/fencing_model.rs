//! The fencing protocol of `docs/FENCING.md`, explored exhaustively within bounds (G6, G10).
//!
//! Every order of requests, arrivals and answers is tried, of writers that crash or pause anywhere,
//! with uploads that arrive late, twice or unnoticed. No acknowledged record is missing from a
//! successor's log, none is there twice, no epoch has two owners, nobody is fenced without a seal,
//! and no reader skips a record or sees one that a seal cut off. With any rule left out the
//! exploration finds how it goes wrong.
//!
//! `WAL_MODEL=long` explores wider bounds.

#[path = "fencing_model/explore.rs"]
mod explore;
#[path = "fencing_model/owner.rs"]
mod owner;
#[path = "fencing_model/reader.rs"]
mod reader;
#[path = "fencing_model/state.rs"]
mod state;
#[path = "fencing_model/taker.rs"]
mod taker;
#[path = "fencing_model/world.rs"]
mod world;

use std::time::Instant;

use explore::{Explored, explore};
use state::State;
use world::{Config, Variant};

const MOST: usize = 60_000_000;

fn run(config: Config) -> Explored {
    config.check();
    let began = Instant::now();
    let first = State {
        roadblocks_left: config.roadblocks,
        ..State::new(config.trims, config.reader)
    };
    let explored = explore(first, MOST, |state, out| config.steps(state, out));
    let seconds = began.elapsed().as_secs_f32();
    println!("{:>9} states, {seconds:.1} s: {config}", explored.states);
    if let Some(violation) = &explored.violation {
        println!("    {} steps to: {}", violation.steps.len(), violation.what);
        for step in &violation.steps {
            println!("        {step}");
        }
    }
    explored
}

fn holds(config: Config) {
    let explored = run(config);
    if let Some(violation) = explored.violation {
        panic!("{}, {config}", violation.what);
    }
}

/// The exploration finds how the protocol goes wrong with the variant.
fn breaks(variant: Variant, config: Config) {
    let variant = Some(variant);
    let explored = run(Config { variant, ..config });
    assert!(explored.violation.is_some(), "{variant:?} goes unnoticed");
}

const PLAIN: Config = Config::BASE;
const TRIMS: Config = Config { trims: 1, ..PLAIN };
const READER: Config = Config {
    reader: true,
    ..PLAIN
};
const THREE: Config = Config {
    writers: 3,
    numbers: 2,
    ..PLAIN
};
/// Trims that take effect one object later, and the stricter promise that goes with it.
const LATE: Config = Config {
    trims_late: true,
    strict: true,
    ..TRIMS
};

#[test]
fn two_writers_and_a_reader() {
    holds(Config {
        window: 1,
        ..READER
    });
    holds(Config {
        window: 3,
        ..READER
    });
}

#[test]
fn three_writers() {
    holds(Config { window: 1, ..THREE });
}

#[test]
fn closed_logs_are_opened_without_taking_over() {
    holds(Config {
        polite: true,
        window: 1,
        ..THREE
    });
}

#[test]
fn trims() {
    holds(TRIMS);
    holds(Config {
        reader: true,
        numbers: 2,
        ..TRIMS
    });
}

#[test]
fn trims_that_take_effect_one_object_later() {
    holds(LATE);
    holds(Config {
        reader: true,
        numbers: 2,
        ..LATE
    });
    holds(Config {
        window: 1,
        epochs: 2,
        ..Config {
            writers: 3,
            numbers: 2,
            ..LATE
        }
    });
}

/// The role goes only to a walk that comes to a seal without a hole, be it one that was put ahead.
const ROADBLOCK: Config = Config {
    roadblocks: 1,
    numbers: 2,
    ..TRIMS
};

#[test]
fn seals_ahead_of_the_hole() {
    holds(ROADBLOCK);
    holds(Config {
        trims: 0,
        epochs: 2,
        reader: true,
        ..ROADBLOCK
    });
}

#[test]
fn the_second_look_goes_past_seals() {
    breaks(Variant::SecondLookAtSeals, ROADBLOCK);
}

/// A note in the log says what is released before a trim asks to give it up.
const NOTES: Config = Config {
    notes: true,
    ..TRIMS
};

/// Then a trim may take effect at once, acknowledged or not: what is missing was released by a note
/// that was acknowledged.
#[test]
fn trims_at_once_of_what_an_acknowledged_note_released() {
    holds(Config { epochs: 2, ..NOTES });
    breaks(Variant::TrimBeforeItsNote, NOTES);
}

#[test]
fn each_rule_is_needed() {
    breaks(Variant::AcknowledgeOutOfOrder, PLAIN);
    breaks(Variant::SealBehindTheLastKnown, PLAIN);
    breaks(Variant::NextNumberAfterConflict, PLAIN);
    breaks(Variant::ConflictIsSuccess, PLAIN);
    breaks(Variant::OwnWithoutSealing, PLAIN);
    breaks(Variant::OwnWriteNotRecognised, PLAIN);
    breaks(Variant::ListWithoutHeaders, PLAIN);
    breaks(Variant::ConflictIsFence, PLAIN);
    breaks(Variant::EmptyEpochNotSealed, Config { window: 1, ..THREE });
    breaks(
        Variant::OpenIgnoresClose,
        Config {
            polite: true,
            ..PLAIN
        },
    );
    breaks(Variant::DeleteSeals, TRIMS);
    breaks(Variant::DeleteBeforeTrimIsConfirmed, TRIMS);
    breaks(Variant::NoSecondLook, TRIMS);
    breaks(
        Variant::ReaderWithoutSecondLook,
        Config {
            reader: true,
            ..TRIMS
        },
    );
    breaks(Variant::HeaderOnlyConfirmedTrim, TRIMS);
    breaks(
        Variant::HintBehindTheLastObject,
        Config {
            window: 1,
            ..Config { trims: 1, ..THREE }
        },
    );
}

/// With trims that take effect at once, one that is never acknowledged may take effect: what it
/// asked for is then gone, though nobody was told so. One object later it cannot.
#[test]
fn the_stricter_promise_needs_trims_one_object_later() {
    let at_once = run(Config {
        strict: true,
        ..TRIMS
    });
    assert!(at_once.violation.is_some());
    breaks(Variant::DeleteWhenTrimIsConfirmed, LATE);
}

/// A trim that is confirmed in order says that all before it is confirmed too.
#[test]
fn a_late_trim_may_reach_up_to_its_own_position() {
    holds(Config {
        variant: Some(Variant::TrimBeyondConfirmed),
        ..LATE
    });
}

/// Minutes, and gigabytes of memory: `WAL_MODEL=long cargo test -p wal-s3 --test fencing_model`.
#[test]
fn wider_bounds() {
    if long() {
        holds(THREE);
        holds(Config { trims: 2, ..LATE });
        holds(Config { numbers: 4, ..LATE });
        holds(Config { trims: 2, ..TRIMS });
        holds(Config {
            numbers: 4,
            ..TRIMS
        });
        holds(Config {
            window: 1,
            epochs: 4,
            numbers: 3,
            ..THREE
        });
        holds(Config {
            reader: true,
            epochs: 2,
            ..THREE
        });
    }
}

/// The same for what came later.
#[test]
fn wider_bounds_of_notes_and_seals_ahead() {
    if long() {
        holds(Config {
            trims: 2,
            ..ROADBLOCK
        });
        holds(Config {
            roadblocks: 2,
            ..ROADBLOCK
        });
        holds(Config {
            trims: 0,
            reader: true,
            ..ROADBLOCK
        });
        holds(NOTES);
    }
}

fn long() -> bool {
    std::env::var("WAL_MODEL").is_ok_and(|long| long == "long")
}
