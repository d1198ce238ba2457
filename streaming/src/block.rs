//! A block: what a receiver stores with one atomic append.
//!
//! Records are encoded as they arrive, into the form in which they are stored:
//! one copy for each, no allocation for each. A record whose offset was passed
//! before is a repeat, and is counted instead of kept (S2).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use wal_core::Append;
use wal_core::planted::planted;

use crate::envelope::{Envelope, put_data_header};
use crate::{Partition, Positions, RecordRef};

/// Records received together, already in the form in which the store keeps them,
/// with the positions that are reached once they are stored.
///
/// ```
/// use wal_streaming::{Block, Partition, RecordRef};
/// let partition = Partition::new("orders", 0);
/// let record = RecordRef { partition: &partition, offset: 7, key: None, value: b"order" };
/// let mut block = Block::new();
/// block.push(record);
/// block.push(record); // a repeat: dropped
/// assert_eq!((block.records(), block.bytes(), block.repeats()), (1, 5, 1));
/// assert_eq!(block.positions().get(&partition), Some(8));
/// ```
#[derive(Debug)]
pub struct Block {
    payload: Payload,
    reached: Vec<Reached>,
    numbers: HashMap<Partition, usize>,
    current: usize,
    stored: Arc<Positions>,
    limits: Limits,
    records: u64,
    bytes: u64,
    repeats: u64,
    stamps: Vec<(Instant, u64)>,
    stamped: u64,
    header: Vec<u8>,
    positions: OnceLock<Positions>,
}

/// When a block is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// A partition in this block, and its next offset.
#[derive(Debug)]
struct Reached {
    partition: Partition,
    next: u64,
}

#[derive(Debug)]
enum Payload {
    Log(Append<'static>),
    Memory(Records),
}

/// Encoded data records, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Records {
    data: Vec<u8>,
    ends: Vec<usize>,
}

impl Records {
    /// The encoded record at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let start = match index.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        self.data.get(start..*self.ends.get(index)?)
    }

    /// Their bytes together.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.len() as u64
    }
}

impl Default for Block {
    fn default() -> Self {
        Block::new()
    }
}

impl Block {
    /// An empty block, in the form that a log takes, with the receiver's default limits.
    #[must_use]
    pub fn new() -> Self {
        Block::with(Payload::Log(Append::new()))
    }

    /// An empty block in a form that can be read back without a log.
    pub(crate) fn in_memory() -> Self {
        Block::with(Payload::Memory(Records::default()))
    }

    fn with(payload: Payload) -> Self {
        Block {
            payload,
            reached: Vec::new(),
            numbers: HashMap::new(),
            current: 0,
            stored: Arc::default(),
            limits: Limits {
                records: 10_000,
                bytes: 1 << 20,
            },
            records: 0,
            bytes: 0,
            repeats: 0,
            stamps: Vec::new(),
            stamped: 0,
            header: Vec::with_capacity(32),
            positions: OnceLock::new(),
        }
    }

    /// Sets when the block is full, and which positions are stored already.
    pub(crate) fn prepare(&mut self, limits: Limits, stored: Arc<Positions>) {
        self.limits = limits;
        self.stored = stored;
        if let Payload::Log(append) = &mut self.payload {
            // Room for the limit, a last record on top, and headers of a few bytes.
            let room = limits.bytes.saturating_add(limits.bytes / 8).min(64 << 20);
            *append = Append::with_capacity(usize::try_from(room).unwrap_or(0), 1 << 10);
        }
    }

    /// Adds a record, unless its offset was passed before (then it is counted as a repeat).
    /// Adds it also when the block is full: ask [`Block::has_room`].
    pub fn push(&mut self, record: RecordRef<'_>) {
        let number = self.number_of(record.partition);
        let Some(reached) = self.reached.get_mut(number) else {
            return;
        };
        if record.offset < reached.next && !planted("repeats-not-dropped") {
            self.repeats += 1;
            return;
        }
        reached.next = record.offset.saturating_add(1);
        self.positions.take();
        self.header.clear();
        put_data_header(
            &mut self.header,
            u32::try_from(number).unwrap_or(u32::MAX),
            &record,
        );
        let key = record.key.unwrap_or_default();
        match &mut self.payload {
            Payload::Log(append) => append.push_parts(&[&self.header, key, record.value]),
            Payload::Memory(records) => {
                for part in [&self.header, key, record.value] {
                    records.data.extend_from_slice(part);
                }
                records.ends.push(records.data.len());
            }
        }
        self.records += 1;
        self.bytes += (key.len() + record.value.len()) as u64;
    }

    /// Says that `partition` is to be read on at `next`, for a source whose offsets are not
    /// dense: without it, that is one after the last record's offset.
    pub fn advance(&mut self, partition: &Partition, next: u64) {
        let number = self.number_of(partition);
        if let Some(reached) = self.reached.get_mut(number)
            && reached.next < next
        {
            reached.next = next;
            self.positions.take();
        }
    }

    /// The number of `partition` in this block's table. Records come in runs of
    /// one partition, so it is mostly that of the record before.
    fn number_of(&mut self, partition: &Partition) -> usize {
        let current = self.reached.get(self.current);
        if current.is_some_and(|reached| reached.partition.same(partition)) {
            return self.current;
        }
        self.current = match self.numbers.get(partition) {
            Some(number) => *number,
            None => {
                let number = self.reached.len();
                self.reached.push(Reached {
                    partition: partition.clone(),
                    next: self.stored.get(partition).unwrap_or(0),
                });
                self.numbers.insert(partition.clone(), number);
                number
            }
        };
        self.current
    }

    /// Forgets every record, as if none had been pushed; repeats stay counted.
    pub fn clear(&mut self) {
        match &mut self.payload {
            Payload::Log(append) => *append = Append::new(),
            Payload::Memory(records) => *records = Records::default(),
        }
        self.reached.clear();
        self.numbers.clear();
        self.positions.take();
        self.stamps.clear();
        (self.current, self.records, self.bytes, self.stamped) = (0, 0, 0, 0);
    }

    /// Number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of all keys and values together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many repeats were dropped.
    #[must_use]
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether another record may be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.records < self.limits.records && self.bytes < self.limits.bytes
    }

    /// The next offset of every partition in this block, once it is stored.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        self.positions.get_or_init(|| {
            let mut positions = Positions::default();
            for reached in &self.reached {
                positions.advance(&reached.partition, reached.next);
            }
            positions
        })
    }

    /// Notes when the records were received that were pushed since the last stamp.
    pub fn stamp(&mut self, received: Instant) {
        if self.records > self.stamped {
            self.stamps.push((received, self.records - self.stamped));
            self.stamped = self.records;
        }
    }

    /// When records were received: each instant with a number of records, in order.
    #[must_use]
    pub fn stamps(&self) -> &[(Instant, u64)] {
        &self.stamps
    }

    /// The stamps and positions, for the time when the block itself has been stored.
    pub(crate) fn take_receipt(&mut self) -> (Vec<(Instant, u64)>, Positions) {
        let positions = self.positions().clone();
        (std::mem::take(&mut self.stamps), positions)
    }

    /// The append that stores this block: its records, and the envelope that says
    /// that `positions` are reached. A block that was made for memory has none.
    pub(crate) fn into_append(self, positions: Positions) -> Append<'static> {
        let envelope = Envelope {
            records: self.records,
            positions,
            table: self.table(),
        };
        let mut append = match self.payload {
            Payload::Log(append) => append,
            Payload::Memory(records) => {
                let encoded = (0..records.ends.len()).filter_map(|index| records.get(index));
                encoded.collect()
            }
        };
        append.push(&envelope.encode());
        append
    }

    /// The block for reading back, if it was made for memory.
    pub(crate) fn into_records(self) -> Option<(Records, Vec<Partition>)> {
        let table = self.table();
        match self.payload {
            Payload::Log(_) => None,
            Payload::Memory(records) => Some((records, table)),
        }
    }

    fn table(&self) -> Vec<Partition> {
        self.reached
            .iter()
            .map(|reached| reached.partition.clone())
            .collect()
    }
}
