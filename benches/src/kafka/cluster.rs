//! One broker with one topic full of records, for all arms alike.

use std::ops::Range;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use super::mock::{MockBroker, partitions_for};
use super::{admin, load, survey};
use crate::failure::{Failure, Outcome};
use crate::identity::Identities;
use crate::input::Input;

/// How long the broker may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Where the records come from.
pub(crate) enum Origin<'a> {
    /// Lines, loaded into a topic of the harness's own.
    Load { input: &'a Input, records: u64 },
    /// An existing topic; only read.
    Topic(&'a str),
}

/// What every arm reads.
#[derive(Debug)]
pub(crate) struct Dataset {
    pub(crate) topic: String,
    pub(crate) partitions: i32,
    pub(crate) records: u64,
    /// Bytes of keys and values.
    pub(crate) bytes: u64,
    pub(crate) identities: Identities,
}

/// A broker, and what the harness must remove from it at the end.
pub(crate) struct Cluster {
    brokers: String,
    mock: Option<MockBroker>,
    /// A topic of the harness's own on a real broker.
    own_topic: Option<String>,
    /// Consumer groups of the harness on a real broker.
    groups: Vec<String>,
    /// Unlike that of any other run on the same broker.
    run: String,
}

impl Cluster {
    /// A real broker at `brokers`, or one in this process.
    pub(crate) fn start(brokers: Option<&str>, run: String) -> Outcome<Cluster> {
        let mock = match brokers {
            Some(_) => None,
            None => Some(MockBroker::start()?),
        };
        let brokers = match (brokers, &mock) {
            (Some(brokers), _) => brokers.to_owned(),
            (None, Some(mock)) => mock.address()?,
            (None, None) => return Err(Failure::broker("no broker")),
        };
        let cluster = Cluster {
            brokers,
            mock,
            own_topic: None,
            groups: Vec::new(),
            run,
        };
        cluster.check()?;
        Ok(cluster)
    }

    fn check(&self) -> Outcome<()> {
        let answer = client(&self.brokers, None)?.fetch_metadata(None, ANSWER);
        answer
            .map(|_| ())
            .map_err(|cause| unreachable_broker(&self.brokers, &cause))
    }

    /// Makes the records ready to be read.
    pub(crate) fn prepare(
        &mut self,
        origin: &Origin<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Outcome<Dataset> {
        match *origin {
            Origin::Topic(topic) => survey::survey(&self.brokers, topic, progress),
            Origin::Load { input, records } => {
                let bytes = input
                    .bytes_of(records)
                    .saturating_add(records * load::KEY_BYTES);
                let partitions = partitions_for(records, bytes);
                let topic = self.create_topic(partitions)?;
                load::load(&self.brokers, &topic, partitions, input, records, progress)?;
                let identities = Identities::Sequence(records);
                Ok(Dataset {
                    topic,
                    partitions,
                    records,
                    bytes,
                    identities,
                })
            }
        }
    }

    fn create_topic(&mut self, partitions: i32) -> Outcome<String> {
        let topic = format!("wal-benches-{}", self.run);
        match &self.mock {
            Some(mock) => mock.create_topic(&topic, partitions)?,
            None => {
                admin::create_topic(&self.brokers, &topic, partitions)?;
                self.own_topic = Some(topic.clone());
            }
        }
        Ok(topic)
    }

    /// A consumer group that nobody has used.
    pub(crate) fn fresh_group(&mut self) -> String {
        let group = format!("wal-benches-{}-{}", self.run, self.groups.len());
        self.groups.push(group.clone());
        group
    }

    /// Host and port.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// For the report.
    pub(crate) fn kind(&self) -> String {
        let (_, version) = rdkafka::util::get_rdkafka_version();
        match self.mock {
            Some(_) => format!("in-process mock broker of librdkafka {version}, over loopback"),
            None => format!("Kafka at {} (client: librdkafka {version})", self.brokers),
        }
    }

    /// Removes what the harness made on a real broker; says what it could not remove.
    pub(crate) fn clean_up(&mut self) -> Outcome<()> {
        if self.mock.is_some() {
            return Ok(());
        }
        let groups = std::mem::take(&mut self.groups);
        admin::delete_groups(&self.brokers, &groups)?;
        match self.own_topic.take() {
            Some(topic) => admin::delete_topic(&self.brokers, &topic),
            None => Ok(()),
        }
    }
}

impl Drop for Cluster {
    /// After a failure, too, nothing stays behind on a real broker. Who wants to know
    /// whether that worked calls `clean_up`; then nothing is left to do here.
    fn drop(&mut self) {
        let _ = self.clean_up();
    }
}

/// A client that joins no group and creates no topic.
pub(super) fn client(brokers: &str, group: Option<&str>) -> Outcome<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", group.unwrap_or("wal-benches-survey"))
        .set("enable.auto.commit", "false")
        .set("allow.auto.create.topics", "false")
        .set("enable.partition.eof", "true");
    config
        .create()
        .map_err(|cause| Failure::broker(format!("no Kafka client: {cause}")))
}

/// The numbers of a topic's partitions.
pub(super) fn partitions(client: &BaseConsumer, brokers: &str, topic: &str) -> Outcome<Vec<i32>> {
    let metadata = client
        .fetch_metadata(Some(topic), ANSWER)
        .map_err(|cause| unreachable_broker(brokers, &cause))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let usable = found.filter(|found| found.error().is_none() && !found.partitions().is_empty());
    match usable {
        Some(found) => Ok(found
            .partitions()
            .iter()
            .map(|partition| partition.id())
            .collect()),
        None => Err(Failure::broker(format!(
            "topic {topic}: unknown at {brokers}; check its name, or leave --topic out to load a topic"
        ))),
    }
}

/// The offsets that a partition holds.
pub(super) fn watermarks(
    client: &BaseConsumer,
    topic: &str,
    partition: i32,
) -> Outcome<Range<u64>> {
    let (low, high) = client
        .fetch_watermarks(topic, partition, ANSWER)
        .map_err(|cause| {
            Failure::broker(format!(
                "topic {topic}[{partition}]: offsets cannot be read: {cause}"
            ))
        })?;
    Ok(u64::try_from(low).unwrap_or(0)..u64::try_from(high).unwrap_or(0))
}

pub(super) fn unreachable_broker(brokers: &str, cause: &KafkaError) -> Failure {
    Failure::broker(format!(
        "no Kafka broker answers at {brokers} ({cause}); check the address and that the broker runs, \
         or leave --kafka out to use the one inside this process"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Committed, committed, seed};

    #[test]
    fn records_are_loaded_kept_and_found_again() {
        let input = Input::read(None, 1_000).unwrap();
        let mut cluster = Cluster::start(None, "test".into()).unwrap();
        let origin = Origin::Load {
            input: &input,
            records: 3_000,
        };
        let loaded = cluster.prepare(&origin, &mut |_| ()).unwrap();
        assert_eq!((loaded.records, loaded.partitions), (3_000, 4));
        assert_eq!(loaded.bytes, input.bytes_of(3_000) + 8 * 3_000);

        let origin = Origin::Topic(&loaded.topic);
        let found = cluster.prepare(&origin, &mut |_| ()).unwrap();
        assert_eq!((found.records, found.bytes), (loaded.records, loaded.bytes));
        assert_eq!(found.identities.len(), 3_000);
    }

    #[test]
    fn an_unknown_topic_is_named() {
        let mut cluster = Cluster::start(None, "test".into()).unwrap();
        let failure = cluster
            .prepare(&Origin::Topic("absent"), &mut |_| ())
            .unwrap_err();
        assert_eq!(failure.exit_code(), 4);
        assert!(
            failure.message.contains("topic absent: unknown"),
            "{failure}"
        );
    }

    #[test]
    fn a_fresh_group_starts_where_another_committed() {
        let input = Input::read(None, 100).unwrap();
        let mut cluster = Cluster::start(None, "test".into()).unwrap();
        let origin = Origin::Load {
            input: &input,
            records: 1_000,
        };
        let data = cluster.prepare(&origin, &mut |_| ()).unwrap();
        let (old, new) = (cluster.fresh_group(), cluster.fresh_group());
        let places = vec![
            Committed {
                partition: 0,
                offset: 7,
            },
            Committed {
                partition: 3,
                offset: 9,
            },
        ];
        seed(cluster.brokers(), &data.topic, &old, &places).unwrap();
        let read = committed(cluster.brokers(), &data, &old).unwrap();
        assert_eq!(read, places);
        seed(cluster.brokers(), &data.topic, &new, &read).unwrap();
        assert_eq!(committed(cluster.brokers(), &data, &new).unwrap(), places);
    }
}
