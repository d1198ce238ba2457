//! Loading: line after line, round robin over the partitions, each with a key that
//! no other record has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::cluster::{client, watermarks};
use crate::failure::{Failure, Outcome};
use crate::input::Input;

/// A key is the record's sequence number, big-endian.
pub(crate) const KEY_BYTES: u64 = 8;
/// How long the last records may take.
const FLUSH: Duration = Duration::from_secs(120);

/// Counts what the broker confirmed and what it did not.
#[derive(Clone, Default)]
struct Deliveries {
    failed: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Loads `records`, and checks that the broker kept every one.
pub(super) fn load(
    brokers: &str,
    topic: &str,
    partitions: i32,
    input: &Input,
    records: u64,
    progress: &mut dyn FnMut(u64),
) -> Outcome<()> {
    let deliveries = Deliveries::default();
    let producer = producer(brokers, deliveries.clone())?;
    let spread = (0..partitions).cycle();
    for ((sequence, line), partition) in (0..records).zip(input.cycle()).zip(spread) {
        send(&producer, topic, partition, sequence, line)?;
        if sequence % 4_096 == 0 {
            progress(sequence);
        }
    }
    producer.flush(FLUSH).map_err(|cause| {
        Failure::broker(format!(
            "loading topic {topic}: the broker did not take all records: {cause}"
        ))
    })?;
    progress(records);
    let failed = deliveries.failed.load(Ordering::Relaxed);
    if failed > 0 {
        return Err(Failure::broker(format!(
            "loading topic {topic}: the broker refused {failed} of {records} records; see its log"
        )));
    }
    check_kept(brokers, topic, partitions, records)
}

/// Idempotent, so that a retry does not load a record twice and make an arm look guilty.
fn producer(brokers: &str, deliveries: Deliveries) -> Outcome<ThreadedProducer<Deliveries>> {
    ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("linger.ms", "20")
        .set("batch.size", "262144")
        .set("queue.buffering.max.kbytes", "65536")
        .create_with_context(deliveries)
        .map_err(|cause| Failure::broker(format!("no Kafka producer: {cause}")))
}

fn send(
    producer: &ThreadedProducer<Deliveries>,
    topic: &str,
    partition: i32,
    sequence: u64,
    line: &[u8],
) -> Outcome<()> {
    let key = sequence.to_be_bytes();
    let mut record = BaseRecord::to(topic)
        .partition(partition)
        .key(&key[..])
        .payload(line);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                std::thread::sleep(Duration::from_millis(1));
                record = back;
            }
            Err((cause, _)) => {
                return Err(Failure::broker(format!("loading topic {topic}: {cause}")));
            }
        }
    }
}

/// A broker with little room drops the oldest records without a word.
fn check_kept(brokers: &str, topic: &str, partitions: i32, records: u64) -> Outcome<()> {
    let client = client(brokers, None)?;
    let mut kept = 0u64;
    for partition in 0..partitions {
        let offsets = watermarks(&client, topic, partition)?;
        kept = kept.saturating_add(offsets.end.saturating_sub(offsets.start));
    }
    if kept == records {
        Ok(())
    } else {
        Err(Failure::broker(format!(
            "topic {topic}: {records} records were loaded and the broker holds {kept}; \
             load fewer with --records, or look at its retention"
        )))
    }
}
