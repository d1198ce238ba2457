//! What a consumer group has committed, and how a fresh group takes it over.
//!
//! A killed member keeps its group waiting until its session times out. A fresh group
//! that starts at the same offsets is what a restarted receiver would find afterwards,
//! without that wait.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::Dataset;
use super::cluster::{ANSWER, client};
use crate::failure::{Failure, Outcome};

/// The next offset that the broker would hand to a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

/// What `group` has committed. Partitions without a commit are left out.
pub(crate) fn committed(brokers: &str, data: &Dataset, group: &str) -> Outcome<Vec<Committed>> {
    let consumer = client(brokers, Some(group))?;
    let mut wanted = TopicPartitionList::new();
    for partition in 0..data.partitions {
        wanted.add_partition(&data.topic, partition);
    }
    let answer = consumer
        .committed_offsets(wanted, ANSWER)
        .map_err(|cause| {
            Failure::broker(format!("group {group}: commits cannot be read: {cause}"))
        })?;
    // Copied at once: a list that outlives its consumer blocks the consumer's end.
    let elements = answer.elements();
    let places = elements.iter().filter_map(|element| {
        let Offset::Offset(offset) = element.offset() else {
            return None;
        };
        let partition = u32::try_from(element.partition()).ok()?;
        Some(Committed {
            partition,
            offset: u64::try_from(offset).ok()?,
        })
    });
    Ok(places.collect())
}

/// Commits `places` for `group`, without joining it.
pub(crate) fn seed(brokers: &str, topic: &str, group: &str, places: &[Committed]) -> Outcome<()> {
    if places.is_empty() {
        return Ok(());
    }
    let failed = |cause: String| Failure::broker(format!("group {group}: cannot commit: {cause}"));
    let consumer = client(brokers, Some(group))?;
    let mut list = TopicPartitionList::new();
    for place in places {
        let partition = i32::try_from(place.partition).map_err(|e| failed(e.to_string()))?;
        let offset = i64::try_from(place.offset).map_err(|e| failed(e.to_string()))?;
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .map_err(|cause| failed(cause.to_string()))?;
    }
    consumer
        .assign(&list)
        .map_err(|cause| failed(cause.to_string()))?;
    consumer
        .commit(&list, CommitMode::Sync)
        .map_err(|cause| failed(cause.to_string()))
}
