//! A consumer group as a feed for a receiver.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::commits::Commits;
use super::config::KafkaOptions;
use super::group::Group;
use super::{failed, offsets, unsigned};
use crate::{Block, Feed, Partition, Positions, RecordRef, Result};

/// Records between two looks at the clock.
const STAMP: u64 = 256;

/// A topic as a feed: shares its partitions with the other members of a consumer group,
/// and commits what is stored, not before (S1).
///
/// Each receiver stores in a log of its own. A group of several hands partitions over
/// cleanly: the old owner stores and commits everything before it lets go. If a member
/// dies, its successor goes on at the committed offset, and what the dead member had
/// stored beyond that is in both logs.
///
/// ```no_run
/// use wal_streaming::{Feed, KafkaFeed, KafkaOptions};
/// let feed = KafkaFeed::open(KafkaOptions::new("localhost:9092", "orders", "ingest"))?;
/// assert_eq!(feed.identity(), "kafka:orders");
/// # Ok::<(), wal_streaming::Error>(())
/// ```
pub struct KafkaFeed {
    consumer: BaseConsumer<Group>,
    options: KafkaOptions,
    /// By partition number.
    lanes: Vec<Lane>,
    commits: Commits,
}

/// A partition as this feed reads it.
struct Lane {
    partition: Partition,
    /// The offset after the last record that was pushed, or where it started.
    next: Option<u64>,
    /// `next` when the last block was handed over: what is, or will be, in the store.
    submitted: Option<u64>,
    /// Where a bounded feed ends.
    end: Option<u64>,
    at_end: bool,
}

impl Lane {
    fn new(topic: &Partition, number: usize, end: Option<u64>) -> Self {
        Lane {
            partition: topic.sibling(u32::try_from(number).unwrap_or(u32::MAX)),
            next: None,
            submitted: None,
            end,
            at_end: false,
        }
    }
}

impl KafkaFeed {
    /// Connects; joins the group with the first `receive`.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source): no broker answered within 10 s, there is
    /// no such topic, or a setting is bad.
    pub fn open(options: KafkaOptions) -> Result<KafkaFeed> {
        let (consumer, partitions) = options.connect(Group::new(&options.topic))?;
        let ends = if options.stop_at_end {
            offsets::bounds(&consumer, &options.topic, &partitions)?
        } else {
            Vec::new()
        };
        let mut feed = KafkaFeed {
            consumer,
            lanes: Vec::new(),
            commits: Commits::new(&options.topic, options.commit_interval),
            options,
        };
        for (index, number) in partitions.iter().enumerate() {
            if let Some(lane) = feed.lane(*number) {
                lane.end = ends.get(index).map(|bounds| bounds.high);
            }
        }
        Ok(feed)
    }

    /// How many commits the group refused because it had replaced this member, as far as
    /// they were waited for. The records are stored all the same.
    #[must_use]
    pub fn refused_commits(&self) -> u64 {
        self.commits.refused
    }

    /// The lane of a partition; made when a partition is new.
    fn lane(&mut self, number: i32) -> Option<&mut Lane> {
        let index = usize::try_from(number).ok()?;
        // A bounded feed ends before the first record of a partition that came later.
        let end = self.options.stop_at_end.then_some(0);
        let topic = match self.lanes.first() {
            Some(lane) => lane.partition.clone(),
            None => Partition::new(self.options.topic.as_str(), 0),
        };
        while self.lanes.len() <= index {
            let lane = Lane::new(&topic, self.lanes.len(), end);
            self.lanes.push(lane);
        }
        self.lanes.get_mut(index)
    }

    /// Pushes messages until the block is full or something else comes: nothing, a callback,
    /// or an error. Waits for the first message only. Says how many came.
    fn poll_many(&mut self, block: &mut Block, patience: Duration) -> (u64, Option<KafkaError>) {
        let mut count = 0;
        let mut received = Instant::now();
        let mut patience = patience;
        let outcome = loop {
            match self.consumer.poll(patience) {
                Some(Ok(message)) => push(&mut self.lanes, block, &message),
                Some(Err(error)) => break Some(error),
                None => break None,
            }
            count += 1;
            if patience.is_zero() {
                if count % STAMP == 0 {
                    block.stamp(received);
                    received = Instant::now();
                }
            } else {
                // The wait for the first is no part of its latency.
                (patience, received) = (Duration::ZERO, Instant::now());
            }
            if !block.has_room() {
                break None;
            }
        };
        block.stamp(received);
        (count, outcome)
    }

    /// A new block: the one before was handed over, so its records count as stored if
    /// a partition is assigned anew.
    fn note_submitted(&mut self) {
        let mut state = self.consumer.context().state();
        for (number, lane) in (0..).zip(&mut self.lanes) {
            if lane.submitted != lane.next {
                lane.submitted = lane.next;
                if let Some(next) = lane.next {
                    state.stored.insert(number, next);
                }
            }
        }
    }

    /// Takes over what callbacks did during a poll.
    fn follow_group(&mut self, block: &mut Block) -> Result<()> {
        let (started, lost, error) = {
            let mut state = self.consumer.context().state();
            let started = std::mem::take(&mut state.started);
            (started, std::mem::take(&mut state.lost), state.error.take())
        };
        if lost {
            // Others own these partitions now: what is not stored is theirs (S5).
            self.forget(block);
        }
        for (number, start) in started {
            self.commits.start(number, start);
            if let Some(lane) = self.lane(number) {
                (lane.next, lane.submitted, lane.at_end) = (start, start, false);
            }
        }
        error.map_or(Ok(()), Err)
    }

    fn forget(&mut self, block: &mut Block) {
        block.clear();
        for lane in &mut self.lanes {
            lane.next = lane.submitted;
        }
    }

    /// Explains an error of the consumer, or lets librdkafka go on with its attempts.
    fn trouble(&self, error: &KafkaError) -> Result<()> {
        use RDKafkaErrorCode as Code;
        let code = error.rdkafka_error_code();
        match code {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Err(self.out_of_range()?),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(failed(
                    &self.options.topic,
                    "the topic is gone; was it deleted?",
                ))
            }
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::Authentication
                | Code::Fatal,
            ) => Err(failed(&self.options.topic, error.to_string())),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(failed(&self.options.topic, error.to_string()))
            }
            _ => {
                tracing::warn!(topic = self.options.topic, %error, "the client will try again");
                Ok(())
            }
        }
    }

    /// Finds the partition whose next offset the topic does not have (S6).
    fn out_of_range(&self) -> Result<crate::Error> {
        let owned: Vec<i32> = self
            .consumer
            .context()
            .state()
            .owned
            .iter()
            .copied()
            .collect();
        let bounds = offsets::bounds(&self.consumer, &self.options.topic, &owned)?;
        for (number, bounds) in owned.iter().zip(bounds) {
            let lane = usize::try_from(*number)
                .ok()
                .and_then(|index| self.lanes.get(index));
            if let Some((lane, next)) = lane.and_then(|lane| Some((lane, lane.next?))) {
                bounds.check(&lane.partition, next, next)?;
            }
        }
        Ok(failed(&self.options.topic, "an offset is out of range"))
    }
}

impl Feed for KafkaFeed {
    fn identity(&self) -> String {
        format!("kafka:{}", self.options.topic)
    }

    fn resume(&mut self, positions: &Positions) -> Result<()> {
        {
            let mut state = self.consumer.context().state();
            for (partition, next) in positions.iter() {
                if let Ok(number) = i32::try_from(partition.index())
                    && partition.topic() == self.options.topic
                {
                    state.stored.insert(number, next);
                }
            }
        }
        self.consumer
            .subscribe(&[&self.options.topic])
            .map_err(|error| failed(&self.options.topic, format!("cannot subscribe: {error}")))
    }

    fn receive(&mut self, block: &mut Block, wait: Duration) -> Result<()> {
        if block.is_empty() {
            self.note_submitted();
        }
        if self.leaving() {
            self.forget(block); // nothing, if the receiver has stored it
            self.consumer.context().let_go(&self.consumer)?;
        }
        self.commits.if_due(&self.consumer)?;
        let deadline = Instant::now().checked_add(wait);
        let mut came = false;
        while block.has_room() && !self.leaving() {
            let left = deadline.map_or(wait, |at| at.saturating_duration_since(Instant::now()));
            let patience = if came { Duration::ZERO } else { left };
            let (count, outcome) = self.poll_many(block, patience);
            came |= count > 0;
            self.follow_group(block)?;
            match outcome {
                Some(KafkaError::PartitionEOF(number)) => {
                    if let Some(lane) = self.lane(number) {
                        lane.at_end = true;
                    }
                    if self.exhausted() {
                        break;
                    }
                }
                Some(error) => self.trouble(&error)?,
                // Nothing at hand, or a callback was served.
                None if came || left.is_zero() => break,
                None => {}
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        self.commits.add(positions);
        self.commits.if_due(&self.consumer)
    }

    fn flush(&mut self) -> Result<()> {
        self.commits.commit(&self.consumer, CommitMode::Sync)
    }

    fn leaving(&self) -> bool {
        !self.consumer.context().state().leaving.is_empty()
    }

    fn exhausted(&self) -> bool {
        let state = self.consumer.context().state();
        let at_end = |number: &i32| {
            let lane = usize::try_from(*number)
                .ok()
                .and_then(|index| self.lanes.get(index));
            lane.is_some_and(|lane| lane.at_end)
        };
        self.options.stop_at_end
            && state.joined
            && state.leaving.is_empty()
            && state.owned.iter().all(at_end)
    }
}

/// Adds a message to the block; one beyond the end of a bounded feed only marks the end.
fn push(lanes: &mut [Lane], block: &mut Block, message: &impl Message) {
    let number = usize::try_from(message.partition()).unwrap_or(usize::MAX);
    let Some(lane) = lanes.get_mut(number) else {
        return;
    };
    let offset = unsigned(message.offset());
    if lane.end.is_some_and(|end| offset >= end) {
        lane.at_end = true;
        return;
    }
    block.push(RecordRef {
        partition: &lane.partition,
        offset,
        key: message.key(),
        value: message.payload().unwrap_or_default(),
    });
    lane.next = Some(offset + 1);
    lane.at_end = lane.end.is_some_and(|end| offset + 1 >= end);
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        // Closing the consumer revokes its partitions, and nobody will drain them.
        self.consumer.context().state().closing = true;
        let _ = self.consumer.context().let_go(&self.consumer);
    }
}
