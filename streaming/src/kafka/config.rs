//! How to reach a topic.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::failed;
use crate::Result;

/// How long a question to the brokers may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A topic, where it is, and how it is read.
///
/// ```
/// use wal_streaming::KafkaOptions;
/// let options = KafkaOptions {
///     stop_at_end: true,
///     ..KafkaOptions::new("localhost:9092", "orders", "ingest")
/// };
/// assert_eq!(options.session_timeout.as_secs(), 6);
/// ```
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The consumer group: shares partitions in receiver mode, and shows progress in both.
    pub group: String,
    /// After this long without a sign of life the group gives partitions to others: default 6 s.
    pub session_timeout: Duration,
    /// How often acknowledgements are committed to the group at most: default 100 ms.
    pub commit_interval: Duration,
    /// Whether to read up to where the partitions end at the time of opening, and then
    /// be exhausted: default no.
    pub stop_at_end: bool,
    /// Settings of librdkafka that replace those made here, in order.
    pub extra: Vec<(String, String)>,
}

impl KafkaOptions {
    /// The defaults, for this topic.
    #[must_use]
    pub fn new(
        brokers: impl Into<String>,
        topic: impl Into<String>,
        group: impl Into<String>,
    ) -> Self {
        KafkaOptions {
            brokers: brokers.into(),
            topic: topic.into(),
            group: group.into(),
            session_timeout: Duration::from_secs(6),
            commit_interval: Duration::from_millis(100),
            stop_at_end: false,
            extra: Vec::new(),
        }
    }

    /// A consumer with these settings, and the topic's partitions: so it is known
    /// at once whether the brokers answer and the topic exists.
    pub(super) fn connect<C: ConsumerContext>(
        &self,
        context: C,
    ) -> Result<(BaseConsumer<C>, Vec<i32>)> {
        let consumer = BaseConsumer::from_config_and_context(&self.client_config(), context)
            .map_err(|error| failed(&self.topic, format!("bad setting: {error}")))?;
        let partitions = self.partitions(&consumer)?;
        Ok((consumer, partitions))
    }

    fn client_config(&self) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Never start anywhere by itself: see the module's documentation.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "range")
            .set("enable.partition.eof", "true")
            .set("session.timeout.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 4).max(1).to_string())
            // A full queue is looked at again soon, not after the default of a second.
            .set("fetch.queue.backoff.ms", "5")
            // An end of partition is only known when an empty fetch has returned.
            .set("fetch.wait.max.ms", "100");
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }

    /// The topic's partitions, in order.
    pub(super) fn partitions<C: ConsumerContext>(
        &self,
        consumer: &BaseConsumer<C>,
    ) -> Result<Vec<i32>> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), PATIENCE);
        let metadata = metadata.map_err(|error| {
            let reason = format!(
                "no broker of `{}` answered within {} s ({error}); \
                 check the address, and that the broker is up",
                self.brokers,
                PATIENCE.as_secs()
            );
            failed(&self.topic, reason)
        })?;
        let found = metadata
            .topics()
            .iter()
            .find(|topic| topic.name() == self.topic);
        let mut partitions: Vec<i32> = match found {
            Some(topic) if topic.error().is_none() => topic
                .partitions()
                .iter()
                .map(|partition| partition.id())
                .collect(),
            _ => Vec::new(),
        };
        if partitions.is_empty() {
            let reason = format!(
                "there is no such topic at `{}`; create it, or check its name",
                self.brokers
            );
            return Err(failed(&self.topic, reason));
        }
        partitions.sort_unstable();
        Ok(partitions)
    }
}
