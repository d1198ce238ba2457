//! Places in a source: partitions, offset ranges, and how far each partition was read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A partition of a source: a Kafka topic and partition number, or a file's name and 0.
///
/// Cheap to clone.
///
/// ```
/// use wal_streaming::Partition;
/// assert_eq!(Partition::new("orders", 3).to_string(), "orders[3]");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Partition {
    topic: Arc<str>,
    index: u32,
}

impl Partition {
    /// Partition `index` of `topic`.
    #[must_use]
    pub fn new(topic: impl Into<Arc<str>>, index: u32) -> Self {
        Partition {
            topic: topic.into(),
            index,
        }
    }

    /// The topic (or file) it belongs to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its number within the topic.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Another partition of the same topic, which shares its text.
    pub(crate) fn sibling(&self, index: u32) -> Partition {
        Partition {
            topic: Arc::clone(&self.topic),
            index,
        }
    }

    /// Equal, found out without comparing text where the text is shared.
    pub(crate) fn same(&self, other: &Partition) -> bool {
        self.index == other.index
            && (Arc::ptr_eq(&self.topic, &other.topic) || self.topic == other.topic)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.index)
    }
}

/// The records of one partition from `from` up to, not including, `until`.
///
/// ```
/// use wal_streaming::{OffsetRange, Partition};
/// let range = OffsetRange { partition: Partition::new("orders", 0), from: 10, until: 15 };
/// assert_eq!(range.to_string(), "orders[0] 10..15");
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetRange {
    /// The partition.
    pub partition: Partition,
    /// First offset.
    pub from: u64,
    /// One past the last offset; never below `from`.
    pub until: u64,
}

impl fmt::Display for OffsetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}..{}", self.partition, self.from, self.until)
    }
}

/// For each partition the next offset to read.
///
/// ```
/// use wal_streaming::{Partition, Positions};
/// let mut positions = Positions::default();
/// let partition = Partition::new("orders", 0);
/// positions.advance(&partition, 10);
/// positions.advance(&partition, 4); // never goes back
/// assert_eq!(positions.get(&partition), Some(10));
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Positions(BTreeMap<Partition, u64>);

impl Positions {
    /// The next offset of `partition`, or `None` if nothing of it was ever read.
    #[must_use]
    pub fn get(&self, partition: &Partition) -> Option<u64> {
        self.0.get(partition).copied()
    }

    /// Moves `partition` forward to `next`; does nothing if it is further already.
    pub fn advance(&mut self, partition: &Partition, next: u64) {
        match self.0.get_mut(partition) {
            Some(position) => *position = next.max(*position),
            None => {
                self.0.insert(partition.clone(), next);
            }
        }
    }

    /// Moves every partition that `other` knows forward to where `other` is.
    pub fn merge(&mut self, other: &Positions) {
        for (partition, next) in other.iter() {
            self.advance(partition, next);
        }
    }

    /// All partitions in order, each with its next offset.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, u64)> {
        self.0.iter().map(|(partition, next)| (partition, *next))
    }

    /// Number of partitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no partition is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
