//! The child: takes its specification from standard input, runs one arm, and dies with
//! its parent, because standard input ends when the parent does, however that died.

use std::io::{BufRead, Read};
use std::path::Path;

use wal_core::{Options, Wal};
use wal_fs::FileStorage;
use wal_streaming::{CountingSink, DriverOptions, FileSink, KafkaOptions, Missing, Sink};

use super::ledger::Ledger;
use super::probe::{Probe, ProbedSink, say};
use super::spec::{Arm, Measured, Said, Spec};
use super::{direct, receiver, usage};
use crate::bucket::Asked;
use crate::failure::{Failure, Outcome};

/// Runs the arm that standard input describes; the parent hears how it went.
pub(crate) fn main() -> Outcome<()> {
    die_of_any_panic();
    let outcome = read_spec().and_then(|spec| run(&spec));
    match &outcome {
        Ok(measured) => say(&Said::Finished(measured.clone())),
        Err(failure) => say(&Said::Failed(failure.clone())),
    }
    outcome.map(|_| ())
}

fn read_spec() -> Outcome<Spec> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|cause| Failure::run(format!("an arm got no specification: {cause}")))?;
    let spec = serde_json::from_str(&line).map_err(|cause| {
        Failure::new(
            crate::failure::Kind::Usage,
            format!("`arm` is for `compare` to call; its specification is not valid: {cause}"),
        )
    })?;
    std::thread::spawn(die_with_parent);
    Ok(spec)
}

/// A thread that panics must not leave the others waiting for it.
fn die_of_any_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(101);
    }));
}

fn die_with_parent() {
    let mut rest = Vec::new();
    let _ = std::io::stdin().lock().read_to_end(&mut rest);
    std::process::exit(1);
}

/// What both modes hand back; the rest is counted by the probe.
#[derive(Default)]
pub(super) struct Ran {
    pub(super) bytes: u64,
    pub(super) repeats_dropped: u64,
    pub(super) skipped: u64,
    /// Given to storage by the receiver's log.
    pub(super) log_bytes: u64,
    pub(super) asked: Option<Asked>,
}

fn run(spec: &Spec) -> Outcome<Measured> {
    let cpu_before = usage::cpu_seconds();
    let probe = Probe::new(spec.pace)?;
    let checkpoint = open_wal(&spec.checkpoint_dir(), Options::default(), None)?;
    let ran = match spec.arm {
        Arm::Direct => direct::run(spec, &probe, &checkpoint)?,
        _ => receiver::run(spec, &probe, &checkpoint)?,
    };
    let checkpoint_bytes = checkpoint.stats().stored_bytes;
    checkpoint.close()?;
    let (received, sunk) = probe.counts();
    Ok(Measured {
        received,
        bytes: ran.bytes,
        sunk,
        window_seconds: probe.window_seconds(),
        join_seconds: probe.join_seconds(),
        cpu_seconds: usage::cpu_seconds()
            .zip(cpu_before)
            .map(|(after, before)| after - before),
        stored_bytes: ran.log_bytes + checkpoint_bytes,
        peak_memory_bytes: usage::peak_memory_bytes(),
        asked: ran.asked,
        repeats_dropped: ran.repeats_dropped,
        skipped: ran.skipped,
        latency: probe.latency(),
    })
}

/// Opens a log of files; `synced` is where to note what was synced.
pub(super) fn open_wal(dir: &Path, options: Options, synced: Option<&Path>) -> Outcome<Wal> {
    let named = |failure: Failure| Failure {
        message: format!("{} ({})", failure.message, dir.display()),
        ..failure
    };
    let storage = FileStorage::open(dir).map_err(|cause| named(cause.into()))?;
    let opened = match synced {
        Some(path) => Ledger::new(storage, path)
            .map_err(Into::into)
            .and_then(|s| Wal::open(s, options)),
        None => Wal::open(storage, options),
    };
    let (wal, _) = opened.map_err(|cause| named(cause.into()))?;
    Ok(wal)
}

/// Files of identities, or counting only.
pub(super) fn sink(spec: &Spec, probe: &Probe) -> Outcome<Box<dyn Sink>> {
    let sink: Box<dyn Sink> = match spec.sink {
        Some(identity) => Box::new(FileSink::new(spec.sink_dir(), identity.format())?),
        None => Box::new(CountingSink::new()),
    };
    Ok(Box::new(ProbedSink {
        sink,
        probe: probe.clone(),
        delay: millis(spec.sink_delay_ms),
        open: 0,
    }))
}

pub(super) fn kafka_options(spec: &Spec) -> KafkaOptions {
    let mut options = KafkaOptions::new(&spec.brokers, &spec.topic, &spec.group);
    options.session_timeout = millis(spec.cadence.session_timeout_ms);
    options.commit_interval = millis(spec.cadence.commit_interval_ms);
    options.stop_at_end = true;
    options
}

pub(super) fn driver_options(spec: &Spec) -> DriverOptions {
    DriverOptions {
        batch_records: spec.cadence.batch_records,
        // Without a log a restart finds planned records gone: that is the loss to show.
        missing: if spec.arm == Arm::NoLog {
            Missing::Skip
        } else {
            Missing::Fail
        },
        ..DriverOptions::new(format!("compare-{}", spec.arm.name()))
    }
}

pub(super) fn millis(millis: u64) -> std::time::Duration {
    std::time::Duration::from_millis(millis)
}
