//! Receiver mode: one thread receives and stores, one drives what was stored into the
//! sink. The arms differ in the store and in when it acknowledges, in nothing else.

use std::thread;

use wal_core::Wal;
use wal_s3::ObjectStorage;
use wal_streaming::{
    Driver, DriverReport, Finisher, KafkaFeed, Receiver, ReceiverOptions, ReceiverReport, Source,
    Stop, Store, WalSource, WalStore, memory_channel,
};

use super::child::{Ran, driver_options, kafka_options, millis, open_wal, sink};
use super::notes::AcknowledgedNotes;
use super::probe::{Probe, ProbedFeed};
use super::spec::{Arm, Spec};
use crate::bucket::Asked;
use crate::failure::{Failure, Outcome};

/// Without a log, received records wait in memory; as many as the log's queue may hold.
const MEMORY_BYTES: u64 = 64 << 20;

pub(super) fn run(spec: &Spec, probe: &Probe, checkpoint: &Wal) -> Outcome<Ran> {
    let Between {
        store,
        source,
        finisher,
        log,
        bucket,
    } = between(spec)?;
    let mut receiver = receiver(spec, probe, store)?;
    let (mut driver, _) = Driver::open(
        source,
        sink(spec, probe)?,
        checkpoint.clone(),
        driver_options(spec),
    )?;

    let stop = Stop::new();
    let (received, driven) = thread::scope(|threads| {
        let receiving = threads.spawn(|| receive(&mut receiver, log.as_ref(), finisher, &stop));
        let driven = driver
            .run(&stop)
            .map_err(Failure::from)
            .inspect_err(|_| stop.stop());
        (receiving.join(), driven)
    });
    let received = received.map_err(|_| Failure::run("the receiver panicked"))?;
    // If both failed, the receiver's reason comes first: the driver only followed.
    let (received, driven): (ReceiverReport, DriverReport) = (received?, driven?);
    let mut log_bytes = log.as_ref().map_or(0, |log| log.stats().stored_bytes);
    if let Some(log) = log {
        log.close()?;
    }
    let requests = bucket.map(|bucket| bucket.requests());
    if let Some(requests) = &requests {
        log_bytes = requests.bytes_up; // with headers, hints and what was sent again
    }
    Ok(Ran {
        bytes: received.bytes,
        repeats_dropped: received.repeats_dropped,
        skipped: driven.skipped,
        log_bytes,
        asked: requests.map(|requests| Asked::new(&requests, &spec.bucket)),
    })
}

/// What lies between receiver and driver.
struct Between {
    store: Box<dyn Store>,
    source: Box<dyn Source>,
    finisher: Finisher,
    log: Option<Wal>,
    bucket: Option<ObjectStorage>,
}

fn between(spec: &Spec) -> Outcome<Between> {
    if !spec.arm.has_log() {
        let (store, source) = memory_channel(MEMORY_BYTES);
        let finisher = source.finisher();
        return Ok(Between {
            store: Box::new(store),
            source: Box::new(source),
            finisher,
            log: None,
            bucket: None,
        });
    }
    let (log, bucket) = open_log(spec)?;
    let store = WalStore::open(log.clone(), spec.arm.acknowledge())?;
    let source = WalSource::new(log.clone(), "compare");
    let finisher = source.finisher();
    Ok(Between {
        store: Box::new(store),
        source: Box::new(source),
        finisher,
        log: Some(log),
        bucket,
    })
}

/// The receiver's log: files, or objects.
fn open_log(spec: &Spec) -> Outcome<(Wal, Option<ObjectStorage>)> {
    let options = spec.arm.log_options();
    if spec.arm == Arm::Bucket {
        let bucket = spec.bucket.open(&spec.dir)?;
        let (log, _) = Wal::open(bucket.clone(), options)?;
        return Ok((log, Some(bucket)));
    }
    let notes = spec.notes.then(|| spec.synced_file());
    let log = open_wal(&spec.log_dir(), options, notes.as_deref())?;
    Ok((log, None))
}

fn receiver(spec: &Spec, probe: &Probe, store: Box<dyn Store>) -> Outcome<Receiver> {
    let acknowledged = spec
        .notes
        .then(|| AcknowledgedNotes::create(&spec.acknowledged_file()));
    let feed = ProbedFeed {
        feed: KafkaFeed::open(kafka_options(spec))?,
        probe: probe.clone(),
        topic: spec.topic.clone(),
        forgotten: spec.forgotten.clone(),
        acknowledged: acknowledged.transpose()?,
    };
    let options = ReceiverOptions {
        block_records: spec.cadence.block_records,
        block_bytes: spec.cadence.block_bytes,
        block_interval: millis(spec.cadence.block_interval_ms),
        in_flight: spec.cadence.blocks_in_flight,
    };
    let mut receiver = Receiver::new(Box::new(feed), store, options)?;
    let observer = probe.clone();
    receiver.on_permitted(Box::new(move |stamps| observer.acknowledged(stamps)));
    Ok(receiver)
}

/// Receives to the end, makes it durable, and tells the driver that no more will come.
fn receive(
    receiver: &mut Receiver,
    log: Option<&Wal>,
    finisher: Finisher,
    stop: &Stop,
) -> Outcome<ReceiverReport> {
    let received = receiver
        .run(stop)
        .map_err(Failure::from)
        .and_then(|report| {
            log.map_or(Ok(()), |log| log.sync().map(|_| ()).map_err(Failure::from))?;
            Ok(report)
        });
    match received {
        Ok(_) => finisher.finish(),
        Err(_) => stop.stop(),
    }
    received
}
