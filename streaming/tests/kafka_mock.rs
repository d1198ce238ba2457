//! Both modes against librdkafka's mock cluster: the real protocol over loopback, in
//! this process. It knows no transactions and no retention: `kafka_real` tries those.

#[cfg(test)]
#[path = "kafka/support.rs"]
mod support;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};
    use tempfile::tempdir;
    use wal_streaming::{
        Error, KafkaFeed, KafkaOptions, KafkaSource, OffsetRange, Partition, Positions, Source,
        Stop,
    };

    use crate::support::{bounded, logged, numbers, open_log, produce, read, receive, run_member};

    const TOPIC: &str = "orders";

    fn cluster(partitions: i32) -> (MockCluster<'static, DefaultProducerContext>, String) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, partitions, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        (cluster, brokers)
    }

    /// The group's committed offset of partition 0.
    fn committed(brokers: &str, group: &str) -> Offset {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", group)
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(TOPIC, 0);
        let found = consumer
            .committed_offsets(list, Duration::from_secs(10))
            .unwrap();
        let offset = found.elements()[0].offset();
        drop(found);
        offset
    }

    /// S2: whatever the group has committed, the log says where to go on.
    #[test]
    fn a_receiver_with_a_fresh_group_repeats_nothing() {
        let (_cluster, brokers) = cluster(3);
        let dir = tempdir().unwrap();
        produce(&brokers, TOPIC, 3, 0..1_000);
        let wal = open_log(dir.path());
        let first = receive(bounded(&brokers, TOPIC, "one"), &wal).unwrap();
        assert_eq!((first.records, first.repeats_dropped), (1_000, 0));
        assert_eq!(committed(&brokers, "one"), Offset::Offset(334));
        drop(wal);

        produce(&brokers, TOPIC, 3, 1_000..1_500);
        let wal = open_log(dir.path());
        let second = receive(bounded(&brokers, TOPIC, "two"), &wal).unwrap();
        assert_eq!((second.records, second.repeats_dropped), (500, 0));
        assert_eq!(numbers(&logged(&wal)), (0..1_500).collect::<Vec<_>>());

        // Nothing new: it ends at once, with nothing.
        let third = receive(bounded(&brokers, TOPIC, "three"), &wal).unwrap();
        assert_eq!((third.records, third.repeats_dropped), (0, 0));
    }

    /// S9: without positions in a log, a receiver goes on where the group was.
    #[test]
    fn without_a_position_the_group_says_where_to_start() {
        let (_cluster, brokers) = cluster(1);
        produce(&brokers, TOPIC, 1, 0..100);
        let dir = tempdir().unwrap();
        receive(bounded(&brokers, TOPIC, "group"), &open_log(dir.path())).unwrap();
        produce(&brokers, TOPIC, 1, 100..130);
        let fresh = tempdir().unwrap();
        let report = receive(bounded(&brokers, TOPIC, "group"), &open_log(fresh.path())).unwrap();
        assert_eq!(report.records, 30);
    }

    /// S5: when a second member joins, the first hands partitions over: together they
    /// store every record, and neither stores one twice. (The mock cluster refuses commits
    /// during a rebalance, which Kafka allows, so here both may have a record: `kafka_real`
    /// shows that on Kafka none is in both.)
    #[test]
    fn a_rebalance_loses_nothing() {
        let (_cluster, brokers) = cluster(4);
        let run = |dir: &std::path::Path, stop: &Stop| run_member(&brokers, TOPIC, dir, stop);
        let (one, two) = (tempdir().unwrap(), tempdir().unwrap());
        let stop = Stop::new();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| run(one.path(), &stop));
            produce(&brokers, TOPIC, 4, 0..2_000);
            std::thread::sleep(Duration::from_secs(5));
            let second = scope.spawn(|| run(two.path(), &stop));
            for part in 2..10 {
                produce(&brokers, TOPIC, 4, part * 1_000..(part + 1) * 1_000);
                std::thread::sleep(Duration::from_secs(1));
            }
            std::thread::sleep(Duration::from_secs(4));
            stop.stop();
            let (first, second) = (first.join().unwrap(), second.join().unwrap());
            assert!(second.records > 0, "the second member got nothing");
            assert!(first.records + second.records >= 10_000);
        });
        let (mut all, rest) = (logged(&open_log(one.path())), logged(&open_log(two.path())));
        all.extend(rest);
        assert_eq!(numbers(&all), (0..10_000).collect::<Vec<_>>());
    }

    /// S3: ranges are read exactly, in order, from where they start, as often as it takes.
    #[test]
    fn direct_mode_reads_every_range_exactly() {
        let (_cluster, brokers) = cluster(3);
        produce(&brokers, TOPIC, 3, 0..2_000);
        let mut source = KafkaSource::open(bounded(&brokers, TOPIC, "direct")).unwrap();
        let mut positions = Positions::default();
        assert_eq!(
            numbers(&read(&mut source, &mut positions).unwrap()),
            (0..2_000).collect::<Vec<_>>()
        );
        assert!(source.exhausted(&positions));
        source.done(&positions).unwrap();

        // Back and forth: the same range gives the same records.
        let partition = Partition::new(TOPIC, 1);
        for (from, until) in [(100, 120), (0, 50), (50, 60), (300, 667)] {
            let range = OffsetRange {
                partition: partition.clone(),
                from,
                until,
            };
            let mut offsets = Vec::new();
            let mut note = |record: wal_streaming::RecordRef<'_>| {
                offsets.push(record.offset);
                assert_eq!(
                    record.value,
                    format!("value {}", record.offset * 3 + 1).as_bytes()
                );
                Ok(())
            };
            source.fetch(&range, &mut note).unwrap();
            assert_eq!(offsets, (from..until).collect::<Vec<_>>());
        }
    }

    /// A source that follows a topic sees what is produced later, without a seek and without a gap.
    #[test]
    fn direct_mode_follows_a_topic() {
        let (_cluster, brokers) = cluster(2);
        let mut source = KafkaSource::open(KafkaOptions::new(&brokers, TOPIC, "direct")).unwrap();
        let mut positions = Positions::default();
        for part in 0..4 {
            produce(&brokers, TOPIC, 2, part * 100..(part + 1) * 100);
            std::thread::sleep(Duration::from_millis(200));
            let records = read(&mut source, &mut positions).unwrap();
            assert_eq!(
                numbers(&records),
                (part * 100..(part + 1) * 100).collect::<Vec<_>>()
            );
        }
        assert!(!source.exhausted(&positions));
    }

    /// S6: offsets that the topic does not have are an error that names them.
    #[test]
    fn offsets_beyond_the_end_are_missing() {
        let (_cluster, brokers) = cluster(1);
        produce(&brokers, TOPIC, 1, 0..10);
        let mut source = KafkaSource::open(KafkaOptions::new(&brokers, TOPIC, "direct")).unwrap();
        let range = OffsetRange {
            partition: Partition::new(TOPIC, 0),
            from: 5,
            until: 20,
        };
        let missing = source.fetch(&range, &mut |_| Ok(())).unwrap_err();
        assert!(
            missing.to_string().starts_with("orders[0] 10..20 is gone"),
            "{missing}"
        );
        let mut after = Positions::default();
        after.advance(&range.partition, 15);
        let missing = source.plan(&after, 10, Duration::ZERO).unwrap_err();
        assert!(
            matches!(&missing, Error::Missing { range, .. } if range.from == 10),
            "{missing}"
        );
    }

    /// S6 in receiver mode: the log is ahead of a topic that was created again.
    #[test]
    fn a_log_that_is_ahead_of_its_topic_is_an_error() {
        let (_cluster, brokers) = cluster(1);
        produce(&brokers, TOPIC, 1, 0..50);
        let dir = tempdir().unwrap();
        let wal = open_log(dir.path());
        receive(bounded(&brokers, TOPIC, "one"), &wal).unwrap();
        let (_other, brokers) = cluster(1);
        produce(&brokers, TOPIC, 1, 0..20);
        let options = KafkaOptions::new(&brokers, TOPIC, "one");
        let missing = receive(options, &wal).unwrap_err();
        assert!(
            missing.to_string().starts_with("orders[0] 20..50 is gone"),
            "{missing}"
        );
    }

    #[test]
    fn an_unknown_topic_is_named() {
        let (_cluster, brokers) = cluster(1);
        for refused in [
            KafkaSource::open(KafkaOptions::new(&brokers, "nothing", "group")).err(),
            KafkaFeed::open(KafkaOptions::new(&brokers, "nothing", "group")).err(),
        ] {
            let text = refused.unwrap().to_string();
            assert!(
                text.contains("kafka:nothing") && text.contains("create it"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_broker_that_is_down_is_named_in_time() {
        let started = Instant::now();
        let refused = KafkaSource::open(KafkaOptions::new("127.0.0.1:1", TOPIC, "group")).err();
        let text = refused.unwrap().to_string();
        assert!(
            text.contains("127.0.0.1:1") && text.contains("check"),
            "{text}"
        );
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
