//! Direct mode: the driver plans offset ranges and reads them from the broker; no log.

use wal_core::Wal;
use wal_streaming::{Driver, KafkaSource, Stop};

use super::child::{Ran, driver_options, kafka_options, sink};
use super::probe::{Probe, ProbedSource};
use super::spec::Spec;
use crate::failure::Outcome;

pub(super) fn run(spec: &Spec, probe: &Probe, checkpoint: &Wal) -> Outcome<Ran> {
    let source = ProbedSource {
        source: KafkaSource::open(kafka_options(spec))?,
        probe: probe.clone(),
    };
    let (mut driver, _) = Driver::open(
        Box::new(source),
        sink(spec, probe)?,
        checkpoint.clone(),
        driver_options(spec),
    )?;
    // A record counts as acknowledged when its batch is done: only then is the
    // source not needed any more.
    let observer = probe.clone();
    driver.on_batch(Box::new(move |batch| observer.acknowledged(&batch.stamps)));
    let report = driver.run(&Stop::new())?;
    Ok(Ran {
        bytes: report.bytes,
        skipped: report.skipped,
        ..Ran::default()
    })
}
