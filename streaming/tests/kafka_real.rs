//! What only a real Apache Kafka can show: transactions, deleted records, clean hand-over,
//! topics that grow. Run with a broker's address:
//! `KAFKA_BOOTSTRAP=localhost:9092 cargo test --features kafka --test kafka_real -- --ignored`

#[cfg(test)]
#[path = "kafka/support.rs"]
mod support;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::producer::Producer;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};
    use tempfile::tempdir;
    use wal_streaming::{
        Error, KafkaOptions, KafkaSource, OffsetRange, Partition, Positions, Source, Stop,
    };

    use crate::support::{
        bounded, logged, numbers, open_log, produce, producer, read, receive, run_member, send,
    };

    const SECONDS_10: Duration = Duration::from_secs(10);

    fn brokers() -> String {
        std::env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP names no broker")
    }

    /// Waits for an answer of the admin client, which needs no runtime.
    fn wait<T>(answer: impl Future<Output = T>) -> T {
        let mut answer = std::pin::pin!(answer);
        loop {
            match answer
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
            {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn admin() -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .create()
            .unwrap()
    }

    /// A topic (and a group) of its own for a test.
    fn topic(name: &str, partitions: i32) -> String {
        let time = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
        let name = format!("{name}-{time}");
        let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(SECONDS_10));
        for outcome in wait(admin().create_topics([&new], &options)).unwrap() {
            outcome.unwrap();
        }
        name
    }

    fn all(until: u64) -> Vec<u64> {
        (0..until).collect()
    }

    /// S1, S2: killed or not, with whatever group, the log has everything once.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn receiver_mode_is_exactly_once_into_the_log() {
        let topic = topic("receiver", 3);
        let dir = tempdir().unwrap();
        produce(&brokers(), &topic, 3, 0..5_000);
        let wal = open_log(dir.path());
        let first = receive(bounded(&brokers(), &topic, &topic), &wal).unwrap();
        assert_eq!(first.records, 5_000);
        drop(wal);
        produce(&brokers(), &topic, 3, 5_000..7_000);
        let wal = open_log(dir.path());
        let fresh = format!("{topic}-fresh");
        let second = receive(bounded(&brokers(), &topic, &fresh), &wal).unwrap();
        assert_eq!((second.records, second.repeats_dropped), (2_000, 0));
        assert_eq!(numbers(&logged(&wal)), all(7_000));
    }

    /// S5: partitions are handed over so that no record is in both logs.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn a_rebalance_repeats_and_loses_nothing() {
        let (brokers, topic) = (brokers(), topic("rebalance", 4));
        let run = |dir: &std::path::Path, stop: &Stop| run_member(&brokers, &topic, dir, stop);
        let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
        let (stop_one, stop_two) = (Stop::new(), Stop::new());
        std::thread::scope(|scope| {
            let first = scope.spawn(|| run(one.path(), &stop_one));
            let mut second = None;
            for part in 0..30 {
                produce(&brokers, &topic, 4, part * 1_000..(part + 1) * 1_000);
                std::thread::sleep(Duration::from_millis(500));
                match part {
                    10 => second = Some(scope.spawn(|| run(two.path(), &stop_two))),
                    // Leaves again, and the first takes all partitions back.
                    22 => stop_two.stop(),
                    _ => {}
                }
            }
            std::thread::sleep(Duration::from_secs(8));
            stop_one.stop();
            let (first, second) = (first.join().unwrap(), second.unwrap().join().unwrap());
            assert!(second.records > 0, "the second member got nothing");
            assert_eq!(first.records + second.records, 30_000);
        });
        let mut records = logged(&open_log(one.path()));
        records.extend(logged(&open_log(two.path())));
        assert_eq!(numbers(&records), all(30_000));
    }

    /// S3: direct mode reads ranges exactly, also in a second process.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn direct_mode_reads_every_range_exactly() {
        let topic = topic("direct", 3);
        produce(&brokers(), &topic, 3, 0..4_000);
        let mut positions = Positions::default();
        let mut source = KafkaSource::open(bounded(&brokers(), &topic, &topic)).unwrap();
        assert_eq!(
            numbers(&read(&mut source, &mut positions).unwrap()),
            all(4_000)
        );
        assert!(source.exhausted(&positions));
        drop(source);
        produce(&brokers(), &topic, 3, 4_000..5_000);
        let mut source = KafkaSource::open(bounded(&brokers(), &topic, &topic)).unwrap();
        let rest = numbers(&read(&mut source, &mut positions).unwrap());
        assert_eq!(rest, (4_000..5_000).collect::<Vec<_>>());
    }

    /// S6: deleted records are an error that names topic, partition and offsets, in both modes.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn deleted_records_are_missing_not_skipped() {
        let topic = topic("deleted", 1);
        produce(&brokers(), &topic, 1, 0..100);
        let dir = tempdir().unwrap();
        let wal = open_log(dir.path());
        receive(bounded(&brokers(), &topic, &topic), &wal).unwrap();
        let mut open = KafkaSource::open(KafkaOptions::new(brokers(), &topic, &topic)).unwrap();
        produce(&brokers(), &topic, 1, 100..200);

        let mut before = TopicPartitionList::new();
        before
            .add_partition_offset(&topic, 0, Offset::Offset(150))
            .unwrap();
        let options = AdminOptions::new().operation_timeout(Some(SECONDS_10));
        wait(admin().delete_records(&before, &options)).unwrap();

        let partition = Partition::new(topic.as_str(), 0);
        let named = |error: Error, from: u64| {
            let Error::Missing { range, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(
                (&range.partition, range.from, range.until),
                (&partition, from, 150)
            );
        };
        // The receiver's log ends at 100, and 100..150 is gone.
        named(
            receive(KafkaOptions::new(brokers(), &topic, &topic), &wal).unwrap_err(),
            100,
        );
        // Direct mode, in a plan, in a planned range, and in a source that was open before.
        let mut after = Positions::default();
        after.advance(&partition, 120);
        let range = OffsetRange {
            partition: partition.clone(),
            from: 130,
            until: 160,
        };
        let mut source = KafkaSource::open(KafkaOptions::new(brokers(), &topic, &topic)).unwrap();
        named(source.plan(&after, 10, SECONDS_10).unwrap_err(), 120);
        named(source.fetch(&range, &mut |_| Ok(())).unwrap_err(), 130);
        let early = OffsetRange {
            partition: partition.clone(),
            from: 40,
            until: 60,
        };
        named(open.fetch(&early, &mut |_| Ok(())).unwrap_err(), 40);
        // And it goes on behind the gap.
        let range = OffsetRange {
            partition: partition.clone(),
            from: 150,
            until: 160,
        };
        let mut count = 0;
        let mut counting = |_: wal_streaming::RecordRef<'_>| {
            count += 1;
            Ok(())
        };
        source.fetch(&range, &mut counting).unwrap();
        open.fetch(&range, &mut counting).unwrap();
        assert_eq!(count, 20);
    }

    /// S6: aborted records are never seen, and markers never stall a range or count as a gap.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn aborted_transactions_and_markers_are_invisible() {
        let topic = topic("transactions", 2);
        let producer = producer(&brokers(), &[("transactional.id", &topic)]);
        producer.init_transactions(SECONDS_10).unwrap();
        let transaction = |numbers: std::ops::Range<u64>, commit: bool| {
            producer.begin_transaction().unwrap();
            send(&producer, &topic, 2, numbers);
            producer.flush(SECONDS_10).unwrap();
            match commit {
                true => producer.commit_transaction(SECONDS_10).unwrap(),
                false => producer.abort_transaction(SECONDS_10).unwrap(),
            }
        };
        let mut following =
            KafkaSource::open(KafkaOptions::new(brokers(), &topic, &topic)).unwrap();
        let (mut positions, mut seen) = (Positions::default(), Vec::new());
        let started = Instant::now();
        for part in 0..5 {
            let first = part * 20;
            transaction(first..first + 20, true);
            transaction(1_000_000..1_000_030, false);
            std::thread::sleep(Duration::from_millis(200));
            // Every range here ends in aborted records and markers.
            let records = read(&mut following, &mut positions).unwrap();
            seen.extend(numbers(&records));
            assert_eq!(seen, all(first + 20));
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );

        // An open transaction is not waited for.
        producer.begin_transaction().unwrap();
        send(&producer, &topic, 2, 2_000_000..2_000_010);
        producer.flush(SECONDS_10).unwrap();
        let mut direct = KafkaSource::open(bounded(&brokers(), &topic, &topic)).unwrap();
        let mut positions = Positions::default();
        assert_eq!(
            numbers(&read(&mut direct, &mut positions).unwrap()),
            all(100)
        );
        assert!(direct.exhausted(&positions));

        let dir = tempdir().unwrap();
        let wal = open_log(dir.path());
        let report = receive(bounded(&brokers(), &topic, &topic), &wal).unwrap();
        assert_eq!(report.records, 100);
        assert_eq!(numbers(&logged(&wal)), all(100));
        producer.abort_transaction(SECONDS_10).unwrap();
    }

    /// S6: a partition that is added later is read, from its beginning.
    #[test]
    #[ignore = "needs a broker in KAFKA_BOOTSTRAP"]
    fn a_topic_may_grow() {
        let topic = topic("growing", 1);
        produce(&brokers(), &topic, 1, 0..50);
        let mut source = KafkaSource::open(KafkaOptions::new(brokers(), &topic, &topic)).unwrap();
        let mut positions = Positions::default();
        assert_eq!(
            numbers(&read(&mut source, &mut positions).unwrap()),
            all(50)
        );
        let options = AdminOptions::new().operation_timeout(Some(SECONDS_10));
        let grown = NewPartitions::new(&topic, 3);
        for outcome in wait(admin().create_partitions([&grown], &options)).unwrap() {
            outcome.unwrap();
        }
        std::thread::sleep(Duration::from_secs(1));
        produce(&brokers(), &topic, 3, 50..110);
        let deadline = Instant::now() + Duration::from_secs(40);
        let mut seen = all(50);
        while seen.len() < 110 && Instant::now() < deadline {
            seen.extend(numbers(&read(&mut source, &mut positions).unwrap()));
        }
        seen.sort_unstable();
        assert_eq!(seen, all(110));
    }
}
