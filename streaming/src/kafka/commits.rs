//! Acknowledgements on their way to the group, as committed offsets.
//!
//! Commits that are not waited for may fail unseen, so each repeats everything that is
//! acknowledged in the partitions that are owned; those that matter (at the end, and
//! before partitions are let go) are waited for. A commit never moves a partition back:
//! what counts there is where this member last started.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::group::Group;
use super::{failed, signed};
use crate::{Positions, Result};

pub(super) struct Commits {
    topic: String,
    interval: Duration,
    /// By partition, everything below this offset is stored.
    stored: BTreeMap<i32, u64>,
    /// Whether that is further than the last commit.
    ahead: bool,
    at: Instant,
    /// How many the group refused because it had replaced this member.
    pub(super) refused: u64,
}

impl Commits {
    pub(super) fn new(topic: &str, interval: Duration) -> Self {
        Commits {
            topic: topic.to_owned(),
            interval,
            stored: BTreeMap::new(),
            ahead: false,
            at: Instant::now(),
            refused: 0,
        }
    }

    /// A partition starts anew at `start`, or at its beginning.
    pub(super) fn start(&mut self, partition: i32, start: Option<u64>) {
        match start {
            Some(start) => self.stored.insert(partition, start),
            None => self.stored.remove(&partition),
        };
    }

    /// Notes that everything below `positions` is stored.
    pub(super) fn add(&mut self, positions: &Positions) {
        for (partition, next) in positions.iter() {
            if let Ok(number) = i32::try_from(partition.index())
                && partition.topic() == self.topic
            {
                let stored = self.stored.entry(number).or_default();
                self.ahead |= *stored < next;
                *stored = next.max(*stored);
            }
        }
    }

    /// Commits, without waiting, if something is new and the last commit is long enough ago.
    pub(super) fn if_due(&mut self, consumer: &BaseConsumer<Group>) -> Result<()> {
        if self.ahead && self.at.elapsed() >= self.interval {
            self.commit(consumer, CommitMode::Async)?;
        }
        Ok(())
    }

    /// Commits everything for the partitions that are owned still (S5).
    pub(super) fn commit(
        &mut self,
        consumer: &BaseConsumer<Group>,
        mode: CommitMode,
    ) -> Result<()> {
        (self.at, self.ahead) = (Instant::now(), false);
        let mut list = TopicPartitionList::new();
        {
            let state = consumer.context().state();
            for (number, next) in &self.stored {
                if state.owned.contains(number) {
                    let mut element = list.add_partition(&self.topic, *number);
                    let _ = element.set_offset(Offset::Offset(signed(*next)));
                }
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        match consumer.commit(&list, mode) {
            Ok(()) => Ok(()),
            Err(error) => self.failed(&error),
        }
    }

    /// A member that the group has dropped may not commit: no harm, its records are stored,
    /// and the next owner may receive them again. Anything else is an error.
    fn failed(&mut self, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::NoOffset) => Ok(()),
            Some(
                Code::IllegalGeneration
                | Code::UnknownMemberId
                | Code::RebalanceInProgress
                | Code::FencedInstanceId
                | Code::FencedMemberEpoch
                | Code::StaleMemberEpoch,
            ) => {
                self.refused += 1;
                tracing::warn!(topic = self.topic, %error, "the group has replaced this member");
                Ok(())
            }
            _ => {
                let reason = format!("cannot commit offsets: {error}; the records are stored");
                Err(failed(&self.topic, reason))
            }
        }
    }
}
