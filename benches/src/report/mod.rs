//! The report: one structure, printed as tables and written as JSON.

mod arm;
mod table;
mod words;

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::arm::spec::{Arm, Cadence};
use crate::compare::{ArmRounds, Trial};
use crate::environment::Environment;
use crate::failure::{Failure, Kind, Outcome};
use crate::kafka::Dataset;
use arm::ArmReport;

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    environment: Environment,
    command: Vec<String>,
    input: InputReport,
    cadence: Cadence,
    arms: Vec<ArmReport>,
    trials: Vec<Trial>,
    #[serde(skip)]
    failures: Vec<Failure>,
}

#[derive(Serialize)]
struct InputReport {
    source: String,
    topic: String,
    partitions: i32,
    records: u64,
    bytes: u64,
}

impl Report {
    pub(crate) fn new(
        environment: Environment,
        source: String,
        data: &Dataset,
        cadence: Cadence,
        measured: Vec<ArmRounds>,
        trials: Vec<Trial>,
        trial_failures: Vec<(Arm, Failure)>,
    ) -> Report {
        let arms: Vec<ArmReport> = measured
            .iter()
            .map(|rounds| {
                let failed = trial_failures.iter().find(|(arm, _)| *arm == rounds.arm);
                ArmReport::new(rounds, &trials, failed.map(|(_, failure)| failure))
            })
            .collect();
        let failures = measured.into_iter().filter_map(|rounds| rounds.failure);
        Report {
            environment,
            command: std::env::args().collect(),
            input: InputReport {
                source,
                topic: data.topic.clone(),
                partitions: data.partitions,
                records: data.records,
                bytes: data.bytes,
            },
            cadence,
            arms,
            trials,
            failures: failures
                .chain(trial_failures.into_iter().map(|(_, failure)| failure))
                .collect(),
        }
    }

    /// To standard output. A reader that has closed it is not an error.
    pub(crate) fn print(&self) {
        let text = words::text(self);
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// Beside the final name first, so that a reader never sees half a report.
    pub(crate) fn write_json(&self, path: &Path) -> Outcome<()> {
        let mut json = serde_json::to_string_pretty(self)
            .map_err(|cause| Failure::run(format!("report as JSON: {cause}")))?;
        json.push('\n');
        let mut aside = path.as_os_str().to_owned();
        aside.push(".tmp");
        fs::write(&aside, json)
            .and_then(|()| fs::rename(&aside, path))
            .map_err(|cause| Failure::run(format!("report file {}: {cause}", path.display())))
    }

    /// Whether every arm ran and kept its promise.
    pub(crate) fn verdict(&self) -> Outcome<()> {
        if let Some(trial) = self.trials.iter().find(|trial| trial.breaks_promise()) {
            return Err(Failure::new(
                Kind::Promise,
                format!(
                    "{} lost {} and repeated {} records in kill {}: its promise is broken; \
                     its files were kept in {}",
                    trial.arm.label(),
                    trial.lost,
                    trial.repeated,
                    trial.number,
                    self.environment.log_dir
                ),
            ));
        }
        self.failures.first().cloned().map_or(Ok(()), Err)
    }
}

/// Told at the start, not after three minutes.
pub(crate) fn check_writable(path: Option<&Path>) -> Outcome<()> {
    let Some(path) = path else { return Ok(()) };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let unusable = |why: &str| {
        let message = format!(
            "report file {}: {why}; name a file with --json",
            path.display()
        );
        Err(Failure::new(Kind::Usage, message))
    };
    if path.is_dir() {
        return unusable("is a directory");
    }
    match parent {
        Some(parent) if !parent.is_dir() => unusable("its directory does not exist"),
        _ => Ok(()),
    }
}
