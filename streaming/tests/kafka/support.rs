//! What the tests against the mock cluster and a real broker have in common.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use wal_core::{Options, Wal};
use wal_fs::FileStorage;
use wal_streaming::{
    Acknowledge, KafkaFeed, KafkaOptions, Positions, Receiver, ReceiverOptions, ReceiverReport,
    Result, Source, Stop, WalSource, WalStore,
};

/// (partition, offset) of every record, with its value.
pub(crate) type Records = BTreeMap<(u32, u64), String>;

pub(crate) fn open_log(dir: &Path) -> Wal {
    Wal::open(FileStorage::open(dir).unwrap(), Options::default())
        .unwrap()
        .0
}

/// Options for a bounded read of everything that is there.
pub(crate) fn bounded(brokers: &str, topic: &str, group: &str) -> KafkaOptions {
    KafkaOptions {
        stop_at_end: true,
        ..KafkaOptions::new(brokers, topic, group)
    }
}

pub(crate) fn producer(
    brokers: &str,
    extra: &[(&str, &str)],
) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "5");
    for (name, value) in extra {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// Queues records `from..until`, round robin over the partitions.
pub(crate) fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    partitions: i32,
    numbers: std::ops::Range<u64>,
) {
    for number in numbers {
        let (key, value) = (format!("key {number}"), format!("value {number}"));
        let partition = i32::try_from(number).unwrap() % partitions;
        let record = BaseRecord::to(topic)
            .partition(partition)
            .key(&key)
            .payload(&value);
        producer.send(record).unwrap();
    }
}

/// Sends records `from..until` and waits until the broker has them.
pub(crate) fn produce(brokers: &str, topic: &str, partitions: i32, numbers: std::ops::Range<u64>) {
    let producer = producer(brokers, &[]);
    send(&producer, topic, partitions, numbers);
    producer.flush(Duration::from_secs(20)).unwrap();
}

/// Receives a topic into a log until the end that it has now.
pub(crate) fn receive(options: KafkaOptions, wal: &Wal) -> Result<ReceiverReport> {
    let feed = KafkaFeed::open(options)?;
    let store = WalStore::open(wal.clone(), Acknowledge::Durable)?;
    let options = ReceiverOptions {
        block_records: 100,
        ..ReceiverOptions::default()
    };
    Receiver::new(Box::new(feed), Box::new(store), options)?.run(&Stop::new())
}

/// Runs a member of a group, with a log in `dir`, until it is stopped.
pub(crate) fn run_member(brokers: &str, topic: &str, dir: &Path, stop: &Stop) -> ReceiverReport {
    let feed = KafkaFeed::open(KafkaOptions::new(brokers, topic, topic)).unwrap();
    let store = WalStore::open(open_log(dir), Acknowledge::Durable).unwrap();
    let options = ReceiverOptions::default();
    let mut receiver = Receiver::new(Box::new(feed), Box::new(store), options).unwrap();
    receiver.run(stop).unwrap()
}

/// Everything in a receiver's log; fails if a record is there twice.
pub(crate) fn logged(wal: &Wal) -> Records {
    let mut source = WalSource::new(wal.clone(), "test");
    read(&mut source, &mut Positions::default()).unwrap()
}

/// Everything that a source has now after `positions`, which move on.
pub(crate) fn read(source: &mut dyn Source, positions: &mut Positions) -> Result<Records> {
    let mut records = Records::new();
    loop {
        let ranges = source.plan(positions, 250, Duration::from_millis(300))?;
        for range in &ranges {
            source.fetch(range, &mut |record| {
                let place = (record.partition.index(), record.offset);
                let value = String::from_utf8_lossy(record.value).into_owned();
                assert!(
                    records.insert(place, value).is_none(),
                    "{place:?} came twice"
                );
                Ok(())
            })?;
            positions.advance(&range.partition, range.until);
        }
        if ranges.is_empty() {
            return Ok(records);
        }
    }
}

/// The numbers of the records, in order.
pub(crate) fn numbers(records: &Records) -> Vec<u64> {
    let number = |value: &String| value.strip_prefix("value ").unwrap().parse().unwrap();
    let mut numbers: Vec<u64> = records.values().map(number).collect();
    numbers.sort_unstable();
    numbers
}
