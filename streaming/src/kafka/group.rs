//! What happens to a member of a consumer group while it polls: partitions come and go.
//!
//! A partition starts at the position that the receiver's log has for it,
//! whatever the group believes (S2). Where the log has none, at the committed
//! offset; where there is none either, at its beginning. A partition that this
//! process gave up and got back may have been read on by others, so it starts at
//! whichever of the two is further.
//!
//! When partitions are revoked they are not let go at once. The feed says that
//! it is leaving, the receiver stores and acknowledges everything, and then
//! `let_go` completes the revocation: the next owner starts where this one
//! stopped. Only when the assignment is lost already (this member was too
//! late), or the feed is closing, partitions go at once; what is not stored is
//! then dropped, and what is stored is no longer acknowledged (S5).

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::config::PATIENCE;
use super::{failed, signed, unsigned};
use crate::{Error, Result};

/// The context of the feed's consumer. Its callbacks run inside `poll`.
pub(super) struct Group {
    topic: String,
    state: Mutex<State>,
}

/// What the callbacks and the feed share.
#[derive(Default)]
pub(super) struct State {
    /// Next offsets according to the log, for every partition that it knows.
    pub(super) stored: BTreeMap<i32, u64>,
    /// The partitions that belong to this member.
    pub(super) owned: BTreeSet<i32>,
    /// Partitions that came since the feed looked, and where they start, if not at the beginning.
    pub(super) started: Vec<(i32, Option<u64>)>,
    /// Partitions that are to be let go once everything from them is acknowledged.
    pub(super) leaving: Vec<i32>,
    /// The assignment was lost: what is not stored must be dropped.
    pub(super) lost: bool,
    /// An assignment has come, even if it was an empty one.
    pub(super) joined: bool,
    /// The consumer is closing: nobody will drain anything.
    pub(super) closing: bool,
    /// What a callback failed with, for the feed to return.
    pub(super) error: Option<Error>,
    /// Partitions that were given up: others may have read on.
    handed_over: BTreeSet<i32>,
}

impl Group {
    pub(super) fn new(topic: &str) -> Self {
        Group {
            topic: topic.to_owned(),
            state: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Completes a revocation: everything from these partitions is acknowledged.
    pub(super) fn let_go(&self, consumer: &BaseConsumer<Self>) -> Result<()> {
        let leaving = std::mem::take(&mut self.state().leaving);
        if leaving.is_empty() {
            return Ok(());
        }
        let released = self.release(consumer, &leaving);
        let mut state = self.state();
        for partition in leaving {
            state.owned.remove(&partition);
            state.handed_over.insert(partition);
        }
        released.map_err(|error| failed(&self.topic, format!("cannot leave partitions: {error}")))
    }

    fn release(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) -> KafkaResult<()> {
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(&self.list(partitions)),
            _ => consumer.unassign(),
        }
    }

    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &[i32]) -> Result<()> {
        let starts = self.starts(consumer, partitions)?;

        let mut list = TopicPartitionList::with_capacity(starts.len());
        let refused = |error: KafkaError| failed(&self.topic, format!("cannot start: {error}"));
        for (partition, start) in &starts {
            let offset = start.map_or(Offset::Beginning, |start| Offset::Offset(signed(start)));
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(offset).map_err(refused)?;
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&list),
            _ => consumer.assign(&list),
        }
        .map_err(refused)?;
        let mut state = self.state();
        state.owned.extend(partitions);
        state.started.extend(starts);
        state.joined = true;
        Ok(())
    }

    /// Where each partition starts; `None` is its beginning.
    fn starts(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
    ) -> Result<Vec<(i32, Option<u64>)>> {
        let (stored, handed_over) = {
            let state = self.state();
            (state.stored.clone(), state.handed_over.clone())
        };
        let asks = |p: &&i32| !stored.contains_key(*p) || handed_over.contains(*p);
        let asked: Vec<i32> = partitions.iter().filter(asks).copied().collect();
        let committed = self.committed(consumer, &asked)?;
        let start = |p: &i32| (*p, stored.get(p).max(committed.get(p)).copied());
        Ok(partitions.iter().map(start).collect())
    }

    /// The offsets that the group has committed. Copied at once: a list that is still
    /// alive when its consumer is dropped keeps it from ending.
    fn committed(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, u64>> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let unknown = |error: KafkaError| {
            failed(
                &self.topic,
                format!("the group's committed offsets are not known: {error}"),
            )
        };
        let found = consumer
            .committed_offsets(self.list(partitions), PATIENCE)
            .map_err(unknown)?;
        let mut committed = BTreeMap::new();
        for element in found.elements() {
            element.error().map_err(unknown)?;
            if let Offset::Offset(offset) = element.offset() {
                committed.insert(element.partition(), unsigned(offset));
            }
        }
        Ok(committed)
    }

    fn list(&self, partitions: &[i32]) -> TopicPartitionList {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&self.topic, *partition);
        }
        list
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: Vec<i32>) {
        let at_once = consumer.assignment_lost() || self.state().closing;
        if !at_once {
            self.state().leaving = partitions;
            return;
        }
        if let Err(error) = self.release(consumer, &partitions) {
            tracing::warn!(topic = self.topic, %error, "cannot let partitions go");
        }
        let mut state = self.state();
        state
            .owned
            .retain(|partition| !partitions.contains(partition));
        state.handed_over.extend(partitions);
        state.leaving.clear();
        state.lost = true;
    }
}

impl ClientContext for Group {}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let partitions: Vec<i32> = list.elements().iter().map(|e| e.partition()).collect();
        tracing::debug!(topic = self.topic, ?what, ?partitions, "rebalance");
        if what != RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.revoke(consumer, partitions);
        } else if let Err(error) = self.assign(consumer, &partitions) {
            self.state().error = Some(error);
        }
    }
}
