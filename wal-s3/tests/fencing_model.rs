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
    let first = State::new(config.trims, config.reader);
    let explored = explore(first, MOST, |state, out| config.steps(state, out));
    println!(
        "{:>9} states in {:5.1} s: {config:?}",
        explored.states,
        began.elapsed().as_secs_f32()
    );
    if let Some(violation) = &explored.violation {
        println!("{} steps to: {}", violation.steps.len(), violation.what);
        violation
            .steps
            .iter()
            .for_each(|step| println!("    {step}"));
    }
    explored
}

fn holds(config: Config) {
    let explored = run(config);
    assert!(explored.violation.is_none(), "{}", config.name);
}

/// The exploration of `config` finds a violation.
fn breaks(variant: Variant, config: Config) {
    let broken = Config {
        variant: Some(variant),
        ..config
    };
    let explored = run(broken);
    assert!(explored.violation.is_some(), "{variant:?} goes unnoticed");
}

#[test]
fn each_rule_is_needed() {
    let plain = Config::BASE;
    let trims = Config { trims: 1, ..plain };
    let three = Config {
        writers: 3,
        window: 1,
        numbers: 1,
        ..plain
    };
    let reads = Config {
        trims: 1,
        reader: true,
        ..plain
    };
    breaks(Variant::AcknowledgeOutOfOrder, plain);
    breaks(Variant::SealBehindTheLastKnown, plain);
    breaks(Variant::NextNumberAfterConflict, plain);
    breaks(Variant::ConflictIsSuccess, plain);
    breaks(Variant::OwnWithoutSealing, plain);
    breaks(Variant::OwnWriteNotRecognised, plain);
    breaks(Variant::ListWithoutHeaders, plain);
    breaks(Variant::ConflictIsFence, plain);
    breaks(Variant::DeleteBeforeTrimIsConfirmed, trims);
    breaks(
        Variant::OpenIgnoresClose,
        Config {
            polite: true,
            ..plain
        },
    );
    breaks(Variant::EmptyEpochNotSealed, three);
    breaks(Variant::NoSecondLook, trims);
    breaks(Variant::ReaderWithoutSecondLook, reads);
    breaks(Variant::DeleteSeals, trims);
    breaks(Variant::HeaderOnlyConfirmedTrim, trims);
    breaks(
        Variant::DeleteWhenTrimIsConfirmed,
        Config {
            trims_late: true,
            strict: true,
            ..trims
        },
    );
}

#[test]
fn scratch() {
    let e = |k: &str, d: u8| std::env::var(k).map_or(d, |v| v.parse().unwrap());
    run(Config {
        name: "scratch",
        writers: e("M_W", 2),
        window: e("M_WIN", 2),
        epochs: e("M_E", 3),
        numbers: e("M_N", 3),
        trims: e("M_T", 0),
        reader: e("M_R", 0) > 0,
        polite: e("M_P", 0) > 0,
        strict: e("M_S", 0) > 0,
        trims_late: e("M_L", 0) > 0,
        ..Config::BASE
    });
}
