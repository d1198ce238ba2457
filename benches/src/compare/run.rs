//! From the command line to the report.

use std::path::PathBuf;

use super::rounds::{ArmRounds, rounds};
use super::trial::{Trial, events, trial};
use super::ui::Ui;
use super::workspace::Workspace;
use crate::arm::spec::{Arm, Cadence, Spec};
use crate::cli::{Compare, DEFAULT_RECORDS};
use crate::environment::Environment;
use crate::failure::{Failure, Kind, Outcome};
use crate::input::Input;
use crate::kafka::{Cluster, Dataset, Origin};
use crate::measure::{exact, thousands};
use crate::report::{self, Report};

/// What rounds and trials share.
pub(super) struct Bench<'a> {
    pub(super) options: &'a Compare,
    pub(super) cluster: &'a mut Cluster,
    pub(super) data: &'a Dataset,
    pub(super) workspace: &'a Workspace,
    pub(super) cadence: Cadence,
    pub(super) ui: &'a Ui,
}

impl Bench<'_> {
    /// An arm that counts only; trials add to it.
    pub(super) fn spec(&self, arm: Arm, group: String, dir: PathBuf) -> Spec {
        Spec {
            arm,
            cadence: self.cadence,
            brokers: self.cluster.brokers().to_owned(),
            topic: self.data.topic.clone(),
            group,
            bucket: self.options.bucket.clone(),
            dir,
            sink: None,
            notes: false,
            forgotten: Vec::new(),
            pace: None,
            sink_delay_ms: 0,
        }
    }
}

impl Bench<'_> {
    /// Frees the space of an arm that is done.
    pub(super) fn remove(&self, spec: &Spec) -> Outcome<()> {
        self.workspace.remove(&spec.dir);
        match spec.arm {
            Arm::Bucket => spec.bucket.clean_up(&spec.dir),
            _ => Ok(()),
        }
    }
}

/// Runs everything; prints the report to standard output.
pub(crate) fn run(options: &Compare) -> Outcome<()> {
    report::check_writable(options.json.as_deref())?;
    let records = options.records.unwrap_or(DEFAULT_RECORDS);
    let input = match options.topic {
        None => Some(Input::read(options.input.as_deref(), records)?),
        Some(_) => None,
    };
    let mut workspace = Workspace::open(options.dir.as_deref())?;
    let mut cluster = Cluster::start(options.kafka.as_deref(), run_name())?;
    let environment = Environment::of(workspace.path(), cluster.kind(), options.bucket.describe());
    let ui = Ui::new();
    announce(&ui, &environment);

    let data = prepare(&mut cluster, options, input.as_ref(), records, &ui)?;
    let cadence = Cadence::for_records(data.records);
    let arms = chosen(&options.arms);
    let bench = &mut Bench {
        options,
        cluster: &mut cluster,
        data: &data,
        workspace: &workspace,
        cadence,
        ui: &ui,
    };
    let measured = rounds(bench, &arms)?;
    let (trials, failures) = trials(bench, &measured);
    drop(ui);

    let source = input.map_or_else(|| data.topic.clone(), |input| input.name().to_owned());
    let report = Report::new(
        environment,
        source,
        &data,
        cadence,
        measured,
        trials,
        failures,
    );
    report.print();
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    let verdict = report.verdict();
    if verdict
        .as_ref()
        .is_err_and(|failure| matches!(failure.kind, Kind::Promise | Kind::Log))
    {
        workspace.keep();
    }
    // What a broken promise or a failed arm means is more important than leftovers.
    verdict.and(cluster.clean_up())
}

/// Tells this run from every other on the same broker.
fn run_name() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = now.map_or(0, |now| now.as_secs());
    format!("{seconds}-{}", std::process::id())
}

fn announce(ui: &Ui, environment: &Environment) {
    ui.note(&format!(
        "logs: {} ({})",
        environment.log_dir, environment.file_system
    ));
    if environment.is_memory() {
        ui.note("warning: that is memory, where a sync costs nothing; name a disk with --dir");
    }
    if cfg!(debug_assertions) {
        ui.note("warning: a debug build; figures mean nothing; use cargo run --release");
    }
}

fn prepare(
    cluster: &mut Cluster,
    options: &Compare,
    input: Option<&Input>,
    records: u64,
    ui: &Ui,
) -> Outcome<Dataset> {
    let origin = match (&options.topic, input) {
        (Some(topic), _) => {
            ui.begin(format!("looking at topic {topic}"), 0);
            Origin::Topic(topic)
        }
        (None, Some(input)) => {
            ui.begin("loading", records);
            Origin::Load { input, records }
        }
        (None, None) => return Err(Failure::new(Kind::Usage, "neither --topic nor input")),
    };
    let data = cluster.prepare(&origin, &mut |at| ui.at(at))?;
    ui.note(&format!(
        "topic: {}, {} records, {} MB, {} partitions; broker: {}",
        data.topic,
        thousands(exact(data.records)),
        thousands(exact(data.bytes) / 1e6),
        data.partitions,
        cluster.kind()
    ));
    Ok(data)
}

/// In the report's order, each once.
fn chosen(wanted: &[Arm]) -> Vec<Arm> {
    let all = Arm::ALL.into_iter();
    all.filter(|arm| wanted.is_empty() || wanted.contains(arm))
        .collect()
}

/// Every kill of every arm that ran; an arm whose trial fails is not tried further.
fn trials(bench: &mut Bench<'_>, measured: &[ArmRounds]) -> (Vec<Trial>, Vec<(Arm, Failure)>) {
    let mut done = Vec::new();
    let mut failures = Vec::new();
    for arm in measured
        .iter()
        .filter(|rounds| rounds.failure.is_none())
        .map(|rounds| rounds.arm)
    {
        let planned = (1..=bench.options.kills).flat_map(|number| {
            events(arm, number)
                .iter()
                .map(move |event| (number, *event))
        });
        for (number, event) in planned {
            match trial(bench, arm, event, number) {
                Ok(trial) => done.push(trial),
                Err(failure) => {
                    bench.ui.note(&format!("trial failed: {failure}"));
                    failures.push((arm, failure));
                    break;
                }
            }
        }
    }
    (done, failures)
}
