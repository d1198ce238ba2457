//! librdkafka's broker inside this process: the real protocol over loopback.

use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_handle_mock_cluster, rd_kafka_mock_group_initial_rebalance_delay_ms,
};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::failure::{Failure, Outcome};

/// It keeps this much of a partition and silently drops the oldest beyond.
const KEPT_BYTES: u64 = 5 << 20;
/// It keeps this many producer batches of a partition; a batch has at least one record.
const KEPT_BATCHES: u64 = 100_000;

/// Lives as long as the client that hosts it.
pub(crate) struct MockBroker {
    host: BaseProducer,
}

impl MockBroker {
    /// One broker, and groups that form without waiting for more members.
    pub(crate) fn start() -> Outcome<MockBroker> {
        let host: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .map_err(|cause| {
                Failure::broker(format!("the in-process broker did not start: {cause}"))
            })?;
        let broker = MockBroker { host };
        broker.set_join_delay(Duration::ZERO);
        Ok(broker)
    }

    /// The addresses for clients.
    pub(crate) fn address(&self) -> Outcome<String> {
        let cluster = self.host.client().mock_cluster();
        cluster
            .map(|cluster| cluster.bootstrap_servers())
            .ok_or_else(|| Failure::broker("the in-process broker is gone"))
    }

    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) -> Outcome<()> {
        let cluster = self.host.client().mock_cluster();
        let created = cluster.map(|cluster| cluster.create_topic(topic, partitions, 1));
        match created {
            Some(Ok(())) => Ok(()),
            Some(Err(cause)) => Err(Failure::broker(format!(
                "the in-process broker refused topic {topic} with {partitions} partitions: {cause}"
            ))),
            None => Err(Failure::broker("the in-process broker is gone")),
        }
    }

    /// rdkafka has no call for this one setting; by default every first join waits 3 s.
    #[allow(unsafe_code)]
    fn set_join_delay(&self, delay: Duration) {
        let delay = i32::try_from(delay.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `native_ptr` is the live client that `self.host` owns; the handle taken
        // from it is null or that client's own cluster, which lives as long as the client
        // and therefore throughout this call; the setter takes the cluster's lock itself.
        unsafe {
            let cluster = rd_kafka_handle_mock_cluster(self.host.client().native_ptr());
            if !cluster.is_null() {
                rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, delay);
            }
        }
    }
}

/// How many partitions keep `records` of `bytes` in all, with a quarter to spare: for
/// the framing of records and batches, and for partitions that are not equally full.
pub(crate) fn partitions_for(records: u64, bytes: u64) -> i32 {
    const FRAMING: u64 = 24;
    let stored = bytes.saturating_add(records.saturating_mul(FRAMING));
    let by_bytes = stored.div_ceil(KEPT_BYTES / 4 * 3);
    let by_batches = records.div_ceil(KEPT_BATCHES / 4 * 3);
    let partitions = by_bytes.max(by_batches).max(4);
    i32::try_from(partitions).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_keep_what_is_loaded() {
        assert_eq!(partitions_for(1_000, 300_000), 4);
        let many = u64::try_from(partitions_for(500_000, 150_000_000)).unwrap();
        assert!(many * KEPT_BYTES > 150_000_000 + 500_000 * 24);
        assert!((32..64).contains(&many), "{many}");
        // Tiny records: the number of batches is the limit.
        assert_eq!(partitions_for(7_500_000, 7_500_000), 100);
    }
}
