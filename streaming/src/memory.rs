//! A receiver without a log: blocks go from the receiver to the driver in memory.
//!
//! It acknowledges what it holds in memory only. **A crash loses** everything that
//! was received and not yet run (S9): that is what the log is for, and this is
//! here so that the loss can be seen and the log's price can be measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wal_core::Lsn;

use crate::block::Records;
use crate::envelope::LogRecord;
use crate::{
    Block, Each, Error, Finisher, OffsetRange, Partition, Positions, Result, Source, Store, Ticket,
};

const NAME: &str = "memory";

/// A store and a source that share up to `limit_bytes` of records in memory: a receiver
/// **without** a log. What it acknowledged is lost if the process ends (S9).
///
/// The store waits while the limit is reached; a single larger block is let in alone.
/// After a restart a driver meets planned ranges that died with the process:
/// [`Missing::Skip`](crate::Missing::Skip) counts them and goes on.
///
/// ```
/// use wal_streaming::{Partition, RecordRef, Source, Store, memory_channel};
/// let (mut store, mut source) = memory_channel(1 << 20);
/// let partition = Partition::new("orders", 0);
/// let mut block = store.begin();
/// block.push(RecordRef { partition: &partition, offset: 0, key: None, value: b"order" });
/// store.store(block)?.wait()?;
/// let ranges = source.plan(&Default::default(), 10, Default::default())?;
/// assert_eq!(ranges[0].to_string(), "memory[0] 0..1");
/// # Ok::<(), wal_streaming::Error>(())
/// ```
#[must_use]
pub fn memory_channel(limit_bytes: u64) -> (MemoryStore, MemorySource) {
    let shared = Arc::new(Shared::default());
    let store = MemoryStore {
        shared: Arc::clone(&shared),
        limit_bytes,
        positions: Positions::default(),
    };
    let source = MemorySource {
        shared,
        partition: Partition::new(NAME, 0),
        base: None,
    };
    (store, source)
}

#[derive(Debug, Default)]
struct Shared {
    held: Mutex<Held>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    blocks: VecDeque<Arc<MemoryBlock>>,
    bytes: u64,
    /// Number of the next record, counted from the start of this process.
    next: u64,
    finished: bool,
    source_gone: bool,
}

#[derive(Debug)]
struct MemoryBlock {
    first: u64,
    end: u64,
    records: Records,
    table: Vec<Partition>,
}

/// The receiver's end of [`memory_channel`].
///
/// ```
/// use wal_streaming::{Store, memory_channel};
/// let (store, _source) = memory_channel(1 << 20);
/// assert!(store.positions().is_empty());
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
    limit_bytes: u64,
    positions: Positions,
}

impl Store for MemoryStore {
    fn positions(&self) -> Positions {
        self.positions.clone()
    }

    fn begin(&self) -> Block {
        Block::in_memory()
    }

    fn store(&mut self, block: Block) -> Result<Ticket> {
        let (reached, count) = (block.positions().clone(), block.records());
        let Some((records, table)) = block.into_records() else {
            return Err(failed("it takes only blocks that its own `begin` made"));
        };
        let mut held = self.shared.held.lock();
        while held.bytes > 0
            && held.bytes.saturating_add(records.bytes()) > self.limit_bytes
            && !held.source_gone
        {
            self.shared.changed.wait(&mut held);
        }
        if held.source_gone {
            return Err(failed("its driver has ended, so it takes nothing more"));
        }
        let first = held.next;
        held.next += count;
        held.bytes += records.bytes();
        let end = held.next;
        held.blocks.push_back(Arc::new(MemoryBlock {
            first,
            end,
            records,
            table,
        }));
        self.shared.changed.notify_all();
        self.positions.merge(&reached);
        Ok(Ticket::ready())
    }
}

fn failed(reason: &str) -> Error {
    Error::Source {
        source_name: NAME.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The driver's end of [`memory_channel`]. Its offsets count records; after a restart
/// they go on where the checkpoint left off, so that what was lost is never mistaken
/// for what came later.
///
/// ```
/// use wal_streaming::{Source, memory_channel};
/// let (_store, source) = memory_channel(1 << 20);
/// assert_eq!(source.identity(), "memory");
/// ```
#[derive(Debug)]
pub struct MemorySource {
    shared: Arc<Shared>,
    partition: Partition,
    /// The offset of this process's first record; known with the first plan.
    base: Option<u64>,
}

impl MemorySource {
    /// For whoever runs the receiver: to say, once it has ended, that nothing more comes.
    #[must_use]
    pub fn finisher(&self) -> Finisher {
        let shared = Arc::clone(&self.shared);
        Finisher::new(move || {
            shared.held.lock().finished = true;
            shared.changed.notify_all();
        })
    }

    fn lost(&self, from: u64, until: u64) -> Error {
        Error::Missing {
            range: OffsetRange {
                partition: self.partition.clone(),
                from,
                until,
            },
            reason: "it was only in the memory of a process that ended".to_owned(),
        }
    }
}

impl Source for MemorySource {
    fn identity(&self) -> String {
        NAME.to_owned()
    }

    fn plan(&mut self, after: &Positions, limit: u64, wait: Duration) -> Result<Vec<OffsetRange>> {
        let position = after.get(&self.partition).unwrap_or(0);
        let base = *self.base.get_or_insert(position);
        let mut held = self.shared.held.lock();
        if base + held.next <= position && !held.finished {
            self.shared.changed.wait_for(&mut held, wait);
        }
        let until = (base + held.next).min(position.saturating_add(limit));
        Ok(if until > position {
            vec![OffsetRange {
                partition: self.partition.clone(),
                from: position,
                until,
            }]
        } else {
            Vec::new()
        })
    }

    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let Some(base) = self.base else {
            return Err(self.lost(range.from, range.until));
        };
        let mut at = range.from;
        while at < range.until {
            let block = {
                let held = self.shared.held.lock();
                let wanted = |block: &&Arc<MemoryBlock>| base + block.end > at;
                held.blocks.iter().find(wanted).cloned()
            };
            match block {
                Some(block) if base + block.first <= at => {
                    let until = range.until.min(base + block.end);
                    block.show(at - base - block.first, until - base - block.first, each)?;
                    at = until;
                }
                Some(block) => return Err(self.lost(at, range.until.min(base + block.first))),
                None => return Err(self.lost(at, range.until)),
            }
        }
        Ok(())
    }

    fn done(&mut self, positions: &Positions) -> Result<()> {
        let (Some(base), Some(position)) = (self.base, positions.get(&self.partition)) else {
            return Ok(());
        };
        let mut held = self.shared.held.lock();
        while held
            .blocks
            .front()
            .is_some_and(|block| base + block.end <= position)
        {
            if let Some(block) = held.blocks.pop_front() {
                held.bytes -= block.records.bytes();
            }
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    fn exhausted(&self, after: &Positions) -> bool {
        let position = after.get(&self.partition).unwrap_or(0);
        let held = self.shared.held.lock();
        held.finished && position >= self.base.unwrap_or(position) + held.next
    }
}

impl Drop for MemorySource {
    fn drop(&mut self) {
        self.shared.held.lock().source_gone = true;
        self.shared.changed.notify_all();
    }
}

impl MemoryBlock {
    /// Shows the records `from..until`, counted from the block's first.
    fn show(&self, from: u64, until: u64, each: Each<'_>) -> Result<()> {
        for number in from..until {
            let format = |reason: &str| Error::Format {
                lsn: Lsn::new(self.first + number),
                reason: reason.to_owned(),
            };
            let bytes = usize::try_from(number)
                .ok()
                .and_then(|index| self.records.get(index));
            let bytes = bytes.ok_or_else(|| format("it is not in its block"))?;
            if let LogRecord::Data(data) = LogRecord::decode(bytes).map_err(format)? {
                each(data.resolve(&self.table).map_err(format)?)?;
            }
        }
        Ok(())
    }
}
