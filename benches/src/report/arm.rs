//! What one arm did, summed up.

use serde::Serialize;

use crate::arm::spec::Arm;
use crate::compare::{ArmRounds, Event, Round, Trial};
use crate::failure::Failure;
use crate::measure::{Percentiles, Spread};

/// One row of the report.
#[derive(Serialize)]
pub(super) struct ArmReport {
    pub(super) arm: &'static str,
    pub(super) name: String,
    pub(super) survives: &'static str,
    /// Why figures are missing.
    pub(super) not_run: Option<String>,
    pub(super) throughput: Option<Throughput>,
    pub(super) latency_ms: Option<Percentiles>,
    pub(super) cpu_seconds_per_gib: Option<Spread>,
    pub(super) stored_per_received: Option<Spread>,
    pub(super) peak_memory_bytes: Option<u64>,
    /// Of the arm whose log lies in an object store.
    pub(super) requests_per_gib: Option<Spread>,
    pub(super) dollars_per_gib: Option<Spread>,
    pub(super) crash: Crash,
    /// Only for the arm that acknowledges before the sync.
    pub(super) power_cut: Option<Crash>,
    pub(super) rounds: Vec<Round>,
    #[serde(skip)]
    pub(super) kind: Arm,
}

#[derive(Serialize)]
pub(super) struct Throughput {
    pub(super) records_per_second: Spread,
    pub(super) megabytes_per_second: Spread,
}

/// Over all trials of one sort.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Crash {
    pub(super) kills: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
}

impl ArmReport {
    /// `trial_failure` is why there are fewer trials than asked for.
    pub(super) fn new(
        measured: &ArmRounds,
        trials: &[Trial],
        trial_failure: Option<&Failure>,
    ) -> Self {
        let arm = measured.arm;
        let rounds = &measured.rounds;
        let own = |wanted: fn(Event) -> bool| {
            Crash::over(
                trials
                    .iter()
                    .filter(|trial| trial.arm == arm && wanted(trial.event)),
            )
        };
        let cuts = own(|event| event == Event::PowerCut);
        ArmReport {
            arm: arm.label(),
            name: arm.name(),
            survives: arm.survives(),
            not_run: measured
                .failure
                .as_ref()
                .or(trial_failure)
                .map(ToString::to_string),
            throughput: Throughput::over(rounds),
            latency_ms: Percentiles::of(&measured.latency),
            cpu_seconds_per_gib: Spread::of(rounds.iter().filter_map(|r| r.cpu_seconds_per_gib)),
            stored_per_received: Spread::of(rounds.iter().map(|r| r.stored_per_received)),
            peak_memory_bytes: rounds.iter().filter_map(|r| r.peak_memory_bytes).max(),
            requests_per_gib: Spread::of(rounds.iter().filter_map(|r| r.requests_per_gib)),
            dollars_per_gib: Spread::of(rounds.iter().filter_map(|r| r.dollars_per_gib)),
            crash: own(|event| event != Event::PowerCut),
            power_cut: (cuts.kills > 0).then_some(cuts),
            rounds: rounds.clone(),
            kind: arm,
        }
    }
}

impl Throughput {
    fn over(rounds: &[Round]) -> Option<Throughput> {
        Some(Throughput {
            records_per_second: Spread::of(rounds.iter().map(|r| r.records_per_second))?,
            megabytes_per_second: Spread::of(rounds.iter().map(|r| r.megabytes_per_second))?,
        })
    }
}

impl Crash {
    fn over<'a>(trials: impl Iterator<Item = &'a Trial>) -> Crash {
        trials.fold(Crash::default(), |sum, trial| Crash {
            kills: sum.kills + 1,
            lost: sum.lost + trial.lost,
            repeated: sum.repeated + trial.repeated,
        })
    }
}
