//! Throughput, latency and cost: every arm reads everything, several times, in turns.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::run::Bench;
use super::supervise::{End, supervise};
use crate::arm::spec::{Arm, Measured};
use crate::failure::{Failure, Outcome};
use crate::measure::{exact, latency_histogram};

/// No arm needs more rounds than this, however short its window is.
const MOST_ROUNDS: u32 = 50;

/// One arm reading everything once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Round {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) window_seconds: f64,
    pub(crate) records_per_second: f64,
    pub(crate) megabytes_per_second: f64,
    /// From the start of the arm to the first record: joining the group, mostly.
    pub(crate) join_seconds: f64,
    pub(crate) cpu_seconds_per_gib: Option<f64>,
    pub(crate) stored_per_received: f64,
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Requests to the object store, and their price in dollars, a GiB received.
    pub(crate) requests_per_gib: Option<f64>,
    pub(crate) dollars_per_gib: Option<f64>,
}

/// All rounds of one arm.
pub(crate) struct ArmRounds {
    pub(crate) arm: Arm,
    pub(crate) rounds: Vec<Round>,
    /// Microseconds from receipt to acknowledgement, over all rounds.
    pub(crate) latency: Histogram<u64>,
    /// Why there are no more rounds.
    pub(crate) failure: Option<Failure>,
}

/// Runs `least` rounds of every arm, and more until each has been measured for long enough.
pub(super) fn rounds(bench: &mut Bench<'_>, arms: &[Arm]) -> Outcome<Vec<ArmRounds>> {
    let mut all = Vec::new();
    for &arm in arms {
        let latency = latency_histogram()?;
        all.push(ArmRounds {
            arm,
            rounds: Vec::new(),
            latency,
            failure: None,
        });
    }
    for number in 1..=MOST_ROUNDS {
        let mut ran = false;
        for arm in &mut all {
            if arm.needs_more(bench.options.rounds, bench.options.min_seconds) {
                arm.run(bench, number);
                ran = true;
            }
        }
        if !ran {
            break;
        }
    }
    Ok(all)
}

impl ArmRounds {
    fn needs_more(&self, least: u32, min_seconds: f64) -> bool {
        let measured: f64 = self.rounds.iter().map(|round| round.window_seconds).sum();
        let few = self.rounds.len() < usize::try_from(least).unwrap_or(usize::MAX);
        self.failure.is_none() && (few || measured < min_seconds)
    }

    fn run(&mut self, bench: &mut Bench<'_>, number: u32) {
        match one_round(bench, self.arm, number) {
            Ok(measured) => {
                for &(micros, records) in &measured.latency {
                    self.latency.saturating_record_n(micros, records);
                }
                self.rounds.push(Round::of(&measured));
            }
            Err(failure) => {
                bench.ui.note(&format!("not run: {failure}"));
                self.failure = Some(failure);
            }
        }
    }
}

fn one_round(bench: &mut Bench<'_>, arm: Arm, number: u32) -> Outcome<Measured> {
    bench.ui.begin(
        format!("round {number}: {}", arm.label()),
        bench.data.records,
    );
    let dir = bench
        .workspace
        .create(&format!("round-{number}-{}", arm.name()))?;
    let group = bench.cluster.fresh_group();
    let spec = bench.spec(arm, group, dir);
    let ended = supervise(&spec, None, &mut |heard| bench.ui.at(heard.received));
    bench.remove(&spec)?;
    match ended? {
        End::Killed(_) => Err(Failure::run(format!("{}: killed by somebody", arm.label()))),
        End::Finished(measured) => complete(&measured, bench.data.records, arm).map(|()| measured),
    }
}

/// Figures of an arm that did not do all the work would flatter it.
fn complete(measured: &Measured, records: u64, arm: Arm) -> Outcome<()> {
    if measured.sunk >= records && measured.received >= records {
        Ok(())
    } else {
        Err(Failure::run(format!(
            "{}: received {} and delivered {} of {records} records without any crash",
            arm.label(),
            measured.received,
            measured.sunk
        )))
    }
}

impl Round {
    fn of(measured: &Measured) -> Round {
        const GIB: f64 = (1u64 << 30) as f64;
        let seconds = measured.window_seconds.max(1e-9);
        let bytes = exact(measured.bytes).max(1.0);
        Round {
            records: measured.received,
            bytes: measured.bytes,
            window_seconds: measured.window_seconds,
            records_per_second: exact(measured.received) / seconds,
            megabytes_per_second: bytes / 1e6 / seconds,
            join_seconds: measured.join_seconds,
            cpu_seconds_per_gib: measured.cpu_seconds.map(|cpu| cpu / (bytes / GIB)),
            stored_per_received: exact(measured.stored_bytes) / bytes,
            peak_memory_bytes: measured.peak_memory_bytes,
            requests_per_gib: measured
                .asked
                .map(|asked| exact(asked.requests()) / (bytes / GIB)),
            dollars_per_gib: measured.asked.map(|asked| asked.dollars / (bytes / GIB)),
        }
    }
}
