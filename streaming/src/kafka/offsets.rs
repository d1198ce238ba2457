//! What a topic's partitions hold: first and end offsets.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};

use super::config::PATIENCE;
use super::{failed, unsigned};
use crate::{Error, OffsetRange, Partition, Result};

/// The offsets of a partition that can be read: `low..high`. With `read_committed`,
/// `high` is the end of what transactions have decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// Asks for the bounds of all `partitions`: two requests a broker, however many they are.
pub(super) fn bounds<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
) -> Result<Vec<Bounds>> {
    let lows = ask(consumer, topic, partitions, Offset::Beginning)?;
    let highs = ask(consumer, topic, partitions, Offset::End)?;
    let pairs = lows.into_iter().zip(highs);
    Ok(pairs.map(|(low, high)| Bounds { low, high }).collect())
}

fn ask<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partitions: &[i32],
    what: Offset,
) -> Result<Vec<u64>> {
    let unknown = |reason: String| {
        failed(
            topic,
            format!("its offsets are not known: {reason}; check that the broker is up"),
        )
    };
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        let mut element = list.add_partition(topic, *partition);
        element
            .set_offset(what)
            .map_err(|error| unknown(error.to_string()))?;
    }
    // An offset in place of a time: the protocol's way to ask for the first and the end.
    let found = consumer
        .offsets_for_times(list, PATIENCE)
        .map_err(|error| unknown(error.to_string()))?;
    let offset_of = |partition: &i32| {
        let element = found
            .find_partition(topic, *partition)
            .ok_or_else(|| unknown(format!("partition {partition} was not answered")))?;
        element
            .error()
            .map_err(|error| unknown(error.to_string()))?;
        match element.offset() {
            Offset::Offset(offset) => Ok(unsigned(offset)),
            other => Err(unknown(format!("partition {partition} answered {other:?}"))),
        }
    };
    partitions.iter().map(offset_of).collect()
}

impl Bounds {
    /// Whether `from..until` can be read, apart from offsets that hold nothing.
    pub(super) fn check(self, partition: &Partition, from: u64, until: u64) -> Result<()> {
        let missing = |from, until, reason: String| {
            Err(Error::Missing {
                range: OffsetRange {
                    partition: partition.clone(),
                    from,
                    until,
                },
                reason,
            })
        };
        if from < self.low {
            let reason = format!(
                "the oldest offset is now {}: retention or a deletion was faster; \
                 raise the topic's retention, or skip what is missing",
                self.low
            );
            return missing(from, self.low, reason);
        }
        if until > self.high {
            let reason = format!(
                "the partition ends at offset {}: it was truncated, or deleted and created again",
                self.high
            );
            return missing(self.high, until, reason);
        }
        Ok(())
    }
}
