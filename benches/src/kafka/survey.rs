//! A look at an existing topic: which records it holds now, up to its end at start.
//!
//! Compacted topics and transactions leave holes in the offsets, so the offsets
//! that are there are read, not computed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::Dataset;
use super::cluster::{client, partitions, unreachable_broker, watermarks};
use crate::failure::{Failure, Outcome};
use crate::identity::{Identities, OffsetsRead};

/// With nothing new for this long the survey gives up.
const SILENCE: Duration = Duration::from_secs(30);

/// Reads the topic once.
pub(super) fn survey(
    brokers: &str,
    topic: &str,
    progress: &mut dyn FnMut(u64),
) -> Outcome<Dataset> {
    let consumer = client(brokers, None)?;
    let numbers = partitions(&consumer, brokers, topic)?;
    let mut reading = Reading::begin(&consumer, topic, &numbers)?;
    reading.run(&consumer, topic, progress).inspect_err(|_| {
        let _ = consumer.unassign();
    })?;
    consumer
        .unassign()
        .map_err(|cause| unreachable_broker(brokers, &cause))?;
    if reading.records == 0 {
        return Err(Failure::broker(format!(
            "topic {topic}: holds no records; write some, or leave --topic out to load a topic"
        )));
    }
    Ok(Dataset {
        topic: topic.to_owned(),
        partitions: i32::try_from(numbers.len()).unwrap_or(i32::MAX),
        records: reading.records,
        bytes: reading.bytes,
        identities: Identities::Offsets(reading.offsets.finish()),
    })
}

/// What was read so far, and where each partition's reading ends.
struct Reading {
    ends: BTreeMap<i32, u64>,
    offsets: OffsetsRead,
    records: u64,
    bytes: u64,
}

impl Reading {
    fn begin(consumer: &BaseConsumer, topic: &str, numbers: &[i32]) -> Outcome<Reading> {
        let mut ends = BTreeMap::new();
        let mut list = TopicPartitionList::new();
        for &partition in numbers {
            let held = watermarks(consumer, topic, partition)?;
            if held.is_empty() {
                continue;
            }
            ends.insert(partition, held.end);
            list.add_partition_offset(topic, partition, Offset::Beginning)
                .map_err(|cause| Failure::broker(format!("topic {topic}: {cause}")))?;
        }
        consumer
            .assign(&list)
            .map_err(|cause| Failure::broker(format!("topic {topic}: cannot be read: {cause}")))?;
        Ok(Reading {
            ends,
            offsets: OffsetsRead::default(),
            records: 0,
            bytes: 0,
        })
    }

    fn run(
        &mut self,
        consumer: &BaseConsumer,
        topic: &str,
        progress: &mut dyn FnMut(u64),
    ) -> Outcome<()> {
        let mut heard = Instant::now();
        while !self.ends.is_empty() {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => self.take(&message, progress),
                // The last offsets may be held by transaction markers, which are not shown.
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.ends.remove(&partition);
                }
                Some(Err(cause)) => {
                    return Err(Failure::broker(format!(
                        "topic {topic}: cannot be read: {cause}"
                    )));
                }
                None if heard.elapsed() > SILENCE => {
                    return Err(Failure::broker(format!(
                        "topic {topic}: the broker has sent nothing for {} s; see its log",
                        SILENCE.as_secs()
                    )));
                }
                None => continue,
            }
            heard = Instant::now();
        }
        Ok(())
    }

    fn take(&mut self, message: &impl Message, progress: &mut dyn FnMut(u64)) {
        let (Ok(partition), Ok(offset)) = (
            u32::try_from(message.partition()),
            u64::try_from(message.offset()),
        ) else {
            return;
        };
        let Some(&end) = self.ends.get(&message.partition()) else {
            return;
        };
        if offset < end {
            let length = |part: Option<&[u8]>| part.map_or(0, |part| part.len() as u64);
            self.offsets.add(partition, offset);
            self.records += 1;
            self.bytes += length(message.key()) + length(message.payload());
        }
        if offset + 1 >= end {
            self.ends.remove(&message.partition());
        }
        if self.records.is_multiple_of(4_096) {
            progress(self.records);
        }
    }
}
