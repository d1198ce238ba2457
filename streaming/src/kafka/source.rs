//! A topic in direct mode: offset ranges, read as often as it takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer, DefaultConsumerContext};
use rdkafka::{Message, Offset, TopicPartitionList};

use super::config::KafkaOptions;
use super::lane::{Client, Lane};
use super::offsets::{Bounds, bounds};
use super::{failed, signed};
use crate::{Each, Error, OffsetRange, Partition, Positions, Result, Source};

/// How often the ends of partitions that were read completely are asked for.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// How often new partitions are looked for.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(10);

/// A topic as a source of offset ranges: every partition, whatever its group does; offsets
/// are kept in the driver's checkpoint, and committed to the group only to be looked at.
///
/// ```no_run
/// use wal_streaming::{KafkaOptions, KafkaSource, Source};
/// let mut source = KafkaSource::open(KafkaOptions::new("localhost:9092", "orders", "direct"))?;
/// for range in source.plan(&Default::default(), 1_000, Default::default())? {
///     source.fetch(&range, &mut |record| {
///         println!("{} {}", record.partition, record.offset);
///         Ok(())
///     })?;
/// }
/// # Ok::<(), wal_streaming::Error>(())
/// ```
pub struct KafkaSource {
    // Before the client: queues belong to it.
    lanes: Vec<Lane>,
    client: Arc<Client>,
    options: KafkaOptions,
    /// Where each partition of a bounded source ends.
    ends: BTreeMap<i32, u64>,
    /// Whether the partitions are being fetched.
    assigned: bool,
    asked_at: Instant,
    looked_at: Instant,
    committed_at: Instant,
}

impl KafkaSource {
    /// Connects and asks for what the topic holds.
    ///
    /// # Errors
    /// [`Error::Source`]: no broker answered within 10 s, there is no such topic, or
    /// a setting is bad.
    pub fn open(mut options: KafkaOptions) -> Result<KafkaSource> {
        // Every partition has a queue of its own here, and librdkafka's limit holds for each:
        // its default of 64 MiB would let memory grow with the number of partitions.
        let limit = ("queued.max.messages.kbytes".to_owned(), "1024".to_owned());
        options.extra.insert(0, limit);
        let (client, partitions) = options.connect(DefaultConsumerContext)?;
        let mut source = KafkaSource {
            lanes: Vec::new(),
            client: Arc::new(client),
            options,
            ends: BTreeMap::new(),
            assigned: false,
            asked_at: Instant::now(),
            looked_at: Instant::now(),
            committed_at: Instant::now(),
        };
        source.add(&partitions)?;
        if source.options.stop_at_end {
            for lane in &mut source.lanes {
                lane.end = Some(lane.bounds.high);
                source.ends.insert(lane.number, lane.bounds.high);
            }
        }
        Ok(source)
    }

    /// Makes lanes for partitions that are new.
    fn add(&mut self, partitions: &[i32]) -> Result<()> {
        let topic = self.options.topic.as_str();
        let found = bounds(&self.client, topic, partitions)?;
        let name = Partition::new(topic, 0);
        for (number, bounds) in partitions.iter().zip(found) {
            // Before it is assigned: so nothing of it ever goes into another queue.
            let queue = self.client.split_partition_queue(topic, *number);
            let queue =
                queue.ok_or_else(|| failed(topic, format!("partition {number} has no queue")))?;
            let partition = name.sibling(u32::try_from(*number).unwrap_or(u32::MAX));
            let mut lane = Lane::new(partition, *number, bounds, queue);
            lane.end = self.ends.get(number).copied();
            self.lanes.push(lane);
        }
        Ok(())
    }

    /// Makes sure that the partitions are being fetched: from where `after` says, from the
    /// beginning if it says nothing at all. A single partition of which it says nothing
    /// waits at its end, where there is nothing to fetch; its first range seeks.
    fn make_ready(&mut self, after: &Positions) -> Result<()> {
        if self.lanes.is_empty() {
            self.begin_anew()?;
        }
        if self.assigned {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(self.lanes.len());
        let topic = &self.options.topic;
        let refused = |error| failed(topic, format!("cannot assign its partitions: {error}"));
        for lane in &mut self.lanes {
            let idle = if after.is_empty() {
                lane.bounds.low
            } else {
                lane.bounds.high
            };
            let start = after.get(&lane.partition).unwrap_or(idle);
            let mut element = list.add_partition(topic, lane.number);
            element
                .set_offset(Offset::Offset(signed(start)))
                .map_err(refused)?;
            lane.assigned(start);
        }
        self.client.assign(&list).map_err(refused)?;
        self.assigned = true;
        Ok(())
    }

    /// Ends the assignment, and with it all queues, and makes new lanes.
    fn begin_anew(&mut self) -> Result<()> {
        self.lanes.clear();
        self.assigned = false;
        self.client
            .unassign()
            .map_err(|error| failed(&self.options.topic, error.to_string()))?;
        let partitions = self.options.partitions(&self.client)?;
        self.add(&partitions)
    }

    /// Serves the client's callbacks. Messages come through the lanes' queues; should one
    /// come here, its lane has a hole, and must not read on.
    fn serve(&mut self) {
        if let Some(Ok(message)) = self.client.poll(Duration::ZERO) {
            let number = message.partition();
            if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.number == number) {
                lane.lost_place();
            }
        }
    }

    /// Asks anew for the ends of partitions that were read up to what is known of them.
    fn refresh(&mut self, after: &Positions) -> Result<()> {
        self.asked_at = Instant::now();
        let read: Vec<i32> = self
            .lanes
            .iter()
            .filter(|lane| lane.next(after) >= lane.high() && lane.end.is_none())
            .map(|lane| lane.number)
            .collect();
        if read.is_empty() {
            return Ok(());
        }
        let found = bounds(&self.client, &self.options.topic, &read)?;
        let known: Vec<(i32, Bounds)> = read.into_iter().zip(found).collect();
        for (number, bounds) in known {
            if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.number == number) {
                lane.bounds = bounds;
            }
        }
        Ok(())
    }

    /// Topics grow: partitions that are new are read from their beginning (S6).
    fn look_for_partitions(&mut self) -> Result<()> {
        self.looked_at = Instant::now();
        let found = self.options.partitions(&self.client)?;
        if found.len() > self.lanes.len() {
            let (now, before) = (found.len(), self.lanes.len());
            tracing::info!(
                topic = self.options.topic,
                before,
                now,
                "the topic has grown"
            );
            self.begin_anew()?;
        }
        Ok(())
    }

    /// Ranges that can be planned now: a fair share for every partition that has something.
    fn ranges(&self, after: &Positions, limit: u64) -> Result<Vec<OffsetRange>> {
        let mut waiting = 0;
        for lane in &self.lanes {
            let next = lane.next(after);
            lane.bounds.check(&lane.partition, next, next)?;
            waiting += u64::from(next < lane.high());
        }
        let mut ranges = Vec::new();
        let mut left = limit;
        for lane in &self.lanes {
            let from = lane.next(after);
            if from >= lane.high() || left == 0 {
                continue;
            }
            let share = left.div_ceil(waiting).min(lane.high() - from);
            waiting -= 1;
            left -= share;
            ranges.push(OffsetRange {
                partition: lane.partition.clone(),
                from,
                until: from + share,
            });
        }
        Ok(ranges)
    }
    fn plan_ranges(
        &mut self,
        after: &Positions,
        limit: u64,
        wait: Duration,
    ) -> Result<Vec<OffsetRange>> {
        let deadline = Instant::now().checked_add(wait);
        if !self.options.stop_at_end && self.looked_at.elapsed() >= LOOK_FOR_PARTITIONS {
            self.look_for_partitions()?;
        }
        self.make_ready(after)?;
        loop {
            self.serve();
            if self.asked_at.elapsed() >= ASK_AGAIN {
                self.refresh(after)?;
            }
            let ranges = self.ranges(after, limit)?;
            let over = deadline.is_some_and(|at| Instant::now() >= at);
            if !ranges.is_empty() || over || self.exhausted(after) {
                return Ok(ranges);
            }
            std::thread::sleep(Duration::from_millis(5).min(wait));
        }
    }

    fn fetch_range(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let mut start = Positions::default();
        start.advance(&range.partition, range.from);
        self.make_ready(&start)?;
        self.serve();
        let named = |lane: &&mut Lane| lane.partition == range.partition;
        let Some(lane) = self.lanes.iter_mut().find(named) else {
            return Err(Error::Missing {
                range: range.clone(),
                reason: "the topic has no such partition; was it deleted and created again?"
                    .to_owned(),
            });
        };
        if range.from < lane.bounds.low || range.until > lane.bounds.high {
            lane.check(&self.client, range.from, range.until)?;
        }
        lane.read(&self.client, range.from, range.until, each)
    }

    /// After an error a partition may have stopped: the next call begins anew.
    fn distrust_after<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            self.lanes.clear();
        }
        outcome
    }
}

impl Lane {
    /// The next offset to plan.
    fn next(&self, after: &Positions) -> u64 {
        after.get(&self.partition).unwrap_or(self.bounds.low)
    }
}

impl Source for KafkaSource {
    fn identity(&self) -> String {
        format!("kafka:{}", self.options.topic)
    }

    fn plan(&mut self, after: &Positions, limit: u64, wait: Duration) -> Result<Vec<OffsetRange>> {
        let planned = self.plan_ranges(after, limit, wait);
        self.distrust_after(planned)
    }

    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let fetched = self.fetch_range(range, each);
        self.distrust_after(fetched)
    }

    fn done(&mut self, positions: &Positions) -> Result<()> {
        let due = self.committed_at.elapsed() >= self.options.commit_interval;
        if !due && !self.exhausted(positions) {
            return Ok(());
        }
        self.committed_at = Instant::now();
        let mut list = TopicPartitionList::with_capacity(self.lanes.len());
        for lane in &self.lanes {
            if let Some(next) = positions.get(&lane.partition) {
                let mut element = list.add_partition(&self.options.topic, lane.number);
                let _ = element.set_offset(Offset::Offset(signed(next)));
            }
        }
        if let Err(error) = self.client.commit(&list, CommitMode::Async) {
            // Only for whoever looks at the group: the checkpoint is what counts.
            tracing::warn!(topic = self.options.topic, %error, "offsets were not committed");
        }
        Ok(())
    }

    fn exhausted(&self, after: &Positions) -> bool {
        let read = |lane: &Lane| lane.end.is_some_and(|end| lane.next(after) >= end);
        self.options.stop_at_end && !self.lanes.is_empty() && self.lanes.iter().all(read)
    }
}
