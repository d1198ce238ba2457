//! One partition in direct mode: a queue of its own, read in ranges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::types::RDKafkaErrorCode;

use super::config::PATIENCE;
use super::offsets::{Bounds, bounds};
use super::{failed, signed, unsigned};
use crate::{Each, Error, Partition, RecordRef, Result};

/// How long nothing may come after an old end of partition before it is looked at anew.
const LOOK: Duration = Duration::from_millis(100);
/// How long nothing may come before the brokers are asked what is there.
const QUIET: Duration = Duration::from_secs(1);
/// How long nothing may come at all.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) type Client = BaseConsumer<DefaultConsumerContext>;

/// A partition with its queue of fetched messages. Consecutive ranges read on where
/// the queue is, so that what was fetched ahead is used; any other range seeks.
pub(super) struct Lane {
    pub(super) partition: Partition,
    pub(super) number: i32,
    pub(super) bounds: Bounds,
    /// Where a bounded source ends.
    pub(super) end: Option<u64>,
    queue: PartitionQueue<DefaultConsumerContext>,
    /// The offset that the queue has next; unknown before the first seek and after trouble.
    position: Option<u64>,
    /// A message behind the range that was read last.
    ahead: Option<OwnedMessage>,
    /// The end of the partition as it was known at the last seek. A fetch that began
    /// after it and meets the end of the partition has seen everything below.
    sought_at: u64,
    /// Everything below this offset that is left in the partition has come out of the queue.
    cleared: u64,
}

/// How a poll ended.
enum Met {
    Message,
    End,
    Nothing,
    Error(KafkaError),
}

impl Lane {
    pub(super) fn new(
        partition: Partition,
        number: i32,
        bounds: Bounds,
        queue: PartitionQueue<DefaultConsumerContext>,
    ) -> Self {
        Lane {
            partition,
            number,
            bounds,
            end: None,
            queue,
            position: None,
            ahead: None,
            sought_at: 0,
            cleared: 0,
        }
    }

    /// Up to where it may be planned.
    pub(super) fn high(&self) -> u64 {
        self.end.unwrap_or(u64::MAX).min(self.bounds.high)
    }

    /// Shows every record of `from..until`, which the partition is known to have.
    ///
    /// The range is over when a message at or behind its end has come, or when the
    /// partition has ended behind it: the last offsets of a range may hold nothing,
    /// like a transaction's marker.
    pub(super) fn read(
        &mut self,
        client: &Arc<Client>,
        from: u64,
        until: u64,
        each: Each<'_>,
    ) -> Result<()> {
        if self.position != Some(from) {
            self.seek(client, from)?;
        }
        let mut at = from;
        self.show_ahead(&mut at, until, each)?;
        let mut heard = Instant::now();
        let mut looked = heard;
        let mut doubtful = false;
        while at < until && self.cleared < until {
            match self.poll(&mut at, until, each)? {
                Met::Message => {
                    heard = Instant::now();
                    (looked, doubtful) = (heard, false);
                }
                Met::End => {
                    self.cleared = self.sought_at;
                    // From before the range was planned, perhaps: more will come, or nothing.
                    doubtful = true;
                }
                Met::Nothing if heard.elapsed() >= SILENCE => return Err(self.silent(at, until)),
                Met::Nothing if doubtful || looked.elapsed() >= QUIET => {
                    self.check(client, at, until)?;
                    self.seek(client, at)?;
                    (looked, doubtful) = (Instant::now(), false);
                }
                Met::Nothing => {}
                Met::Error(error) => {
                    self.explain(client, at, until, &error)?;
                    self.seek(client, at)?;
                }
            }
            self.position = Some(at);
        }
        self.position = Some(until);
        Ok(())
    }

    fn show_ahead(&mut self, at: &mut u64, until: u64, each: Each<'_>) -> Result<()> {
        let Some(message) = self.ahead.take() else {
            return Ok(());
        };
        let offset = unsigned(message.offset());
        if offset >= until {
            *at = until;
            self.ahead = Some(message);
        } else {
            each(record(&self.partition, &message))?;
            *at = offset + 1;
        }
        self.position = Some(*at);
        Ok(())
    }

    /// Takes messages off the queue, and shows them, until something else comes.
    fn poll(&mut self, at: &mut u64, until: u64, each: Each<'_>) -> Result<Met> {
        let mut met = Met::Nothing;
        // Unknown while messages are being shown: if `each` fails, the range is read anew.
        self.position = None;
        while *at < until {
            // Without a wait while messages flow: that saves looking at the clock for each.
            let patience = match met {
                Met::Message => Duration::ZERO,
                _ => LOOK,
            };
            let message = match self.queue.poll(patience) {
                Some(Ok(message)) => message,
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(Met::End),
                Some(Err(error)) => return Ok(Met::Error(error)),
                None => return Ok(met),
            };
            met = Met::Message;
            let offset = unsigned(message.offset());
            if offset >= until {
                self.ahead = Some(message.detach());
                *at = until;
            } else if offset >= *at {
                each(record(&self.partition, &message))?;
                *at = offset + 1;
            }
        }
        Ok(met)
    }

    /// The queue begins at `start`, with a fetch that has just begun.
    pub(super) fn assigned(&mut self, start: u64) {
        (self.position, self.ahead) = (Some(start), None);
        (self.sought_at, self.cleared) = (self.bounds.high, 0);
    }

    /// Where the queue is cannot be relied on: the next range seeks.
    pub(super) fn lost_place(&mut self) {
        self.position = None;
    }

    /// Makes the queue begin at `to`, with a fetch that starts now.
    fn seek(&mut self, client: &Arc<Client>, to: u64) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let topic = self.partition.topic();
            let sought = client.seek(topic, self.number, Offset::Offset(signed(to)), PATIENCE);
            match sought {
                Ok(()) => break,
                // A partition that has just been assigned is not ready for it at once.
                Err(_) if Instant::now() < deadline => {
                    client.poll(Duration::from_millis(5));
                }
                Err(error) => {
                    return Err(failed(topic, format!("cannot go to offset {to}: {error}")));
                }
            }
        }
        self.assigned(to);
        Ok(())
    }

    /// Asks the brokers anew what the partition holds, and whether `from..until` is there.
    pub(super) fn check(&mut self, client: &Arc<Client>, from: u64, until: u64) -> Result<()> {
        let found = bounds(client, self.partition.topic(), &[self.number])?;
        if let Some(found) = found.first() {
            self.bounds = *found;
        }
        self.bounds.check(&self.partition, from, until)
    }

    /// Nothing comes although the brokers say that there is something.
    fn silent(&self, at: u64, until: u64) -> Error {
        let reason = format!(
            "nothing came from partition {} at offset {at} for {} s, although it goes to {until}; \
             check the brokers",
            self.number,
            SILENCE.as_secs()
        );
        failed(self.partition.topic(), reason)
    }

    /// What an error of the queue means: something is gone, or something else is wrong.
    /// Nothing, if it is about offsets and those that are wanted are there: it is an old
    /// one, from before the last seek, which the client does not take out of the queue.
    fn explain(
        &mut self,
        client: &Arc<Client>,
        at: u64,
        until: u64,
        error: &KafkaError,
    ) -> Result<()> {
        use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
        if let Some(AutoOffsetReset | OffsetOutOfRange) = error.rdkafka_error_code() {
            return self.check(client, at, until);
        }
        let reason = format!("partition {}, offset {at}: {error}", self.number);
        Err(failed(self.partition.topic(), reason))
    }
}

fn record<'a>(partition: &'a Partition, message: &'a impl Message) -> RecordRef<'a> {
    RecordRef {
        partition,
        offset: unsigned(message.offset()),
        key: message.key(),
        value: message.payload().unwrap_or_default(),
    }
}
