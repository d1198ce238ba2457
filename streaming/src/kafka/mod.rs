//! Kafka, on librdkafka: a consumer group as a feed, offset ranges as a source.
//!
//! Neither ever starts anywhere by itself (`auto.offset.reset=error`): where to
//! start comes from the log, the checkpoint, the group's committed offset, or it
//! is the beginning of a partition that was never read. So data that retention
//! has removed is an [`Error::Missing`] that names topic, partition and offsets,
//! never a silent skip (S6). Offsets that hold no record for anybody (compacted
//! away, transaction markers, aborted transactions) are no gap.

mod commits;
mod config;
mod feed;
mod group;
mod lane;
mod offsets;
mod source;

pub use self::config::KafkaOptions;
pub use self::feed::KafkaFeed;
pub use self::source::KafkaSource;

use crate::Error;

/// An error of the source `kafka:<topic>`.
fn failed(topic: &str, reason: impl Into<String>) -> Error {
    Error::Source {
        source_name: format!("kafka:{topic}"),
        reason: reason.into(),
    }
}

/// An offset or partition number of librdkafka, which has them signed; never negative here.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The other way round.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
