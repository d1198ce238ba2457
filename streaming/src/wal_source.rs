//! Receiver mode's source: the receiver's own log.
//!
//! It has one partition, `log:<name>`, whose offsets are LSNs. Ranges are planned
//! at the ends of blocks only, so that a range always holds the envelopes that its
//! data records need; a batch may therefore be larger than its limit by at most one
//! block. Envelopes count in the range of LSNs, and are not shown.
//!
//! The log is read once, front to back, with one reader: what was planned is kept
//! in memory until it is fetched. Only a re-run after a restart reads again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wal_core::planted::planted;
use wal_core::{Lsn, Reader, Record, Wal};

use crate::envelope::{LogRecord, is_envelope};
use crate::{Each, Error, Finisher, OffsetRange, Partition, Positions, Result, Source};

/// How often a wait for the log looks whether it was finished meanwhile.
const LOOK: Duration = Duration::from_millis(5);
/// No receiver writes a block of more records; more without an envelope is damage.
const BLOCK_RECORDS: usize = 1 << 24;

/// The receiver's log as a source for a [`Driver`](crate::Driver). Records carry the
/// partition and offset that they had in the receiver's source.
///
/// ```
/// use wal_core::{Options, Wal};
/// use wal_fs::FileStorage;
/// use wal_streaming::{Source, WalSource};
///
/// let dir = tempfile::tempdir()?;
/// let (wal, _) = Wal::open(FileStorage::open(dir.path())?, Options::default())?;
/// let source = WalSource::new(wal, "orders");
/// assert_eq!(source.identity(), "log:orders");
/// source.finisher().finish();
/// assert!(source.exhausted(&Default::default()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WalSource {
    wal: Wal,
    partition: Partition,
    finished: Arc<AtomicBool>,
    reader: Option<Reader>,
    /// Whole blocks that were read and not fetched yet, without a hole between them.
    blocks: VecDeque<ReadBlock>,
    /// Records of a block whose envelope has not been read yet.
    partial: Vec<Record>,
    /// Where the last whole block that was read ends.
    cursor: Lsn,
}

/// A block as it lies in the log; its envelope is the last record.
#[derive(Debug)]
struct ReadBlock {
    first: Lsn,
    end: Lsn,
    records: Vec<Record>,
}

impl WalSource {
    /// A source over `wal`, into which a receiver with a [`WalStore`](crate::WalStore) stores.
    /// `name` tells it from other logs, for ever: it is part of the pipeline's identity.
    #[must_use]
    pub fn new(wal: Wal, name: impl Into<String>) -> WalSource {
        WalSource {
            wal,
            partition: Partition::new(format!("log:{}", name.into()), 0),
            finished: Arc::default(),
            reader: None,
            blocks: VecDeque::new(),
            partial: Vec::new(),
            cursor: Lsn::ZERO,
        }
    }

    /// For whoever runs the receiver: to say, once it has ended, that nothing more comes.
    #[must_use]
    pub fn finisher(&self) -> Finisher {
        let (wal, finished) = (self.wal.clone(), Arc::clone(&self.finished));
        Finisher::new(move || {
            // Readers see only what is durable, so what was only accepted is synced first.
            if let Err(error) = wal.sync() {
                tracing::warn!(%error, "the log failed when its source was finished");
            }
            finished.store(true, Ordering::Release);
        })
    }

    fn position(&self, after: &Positions) -> Result<Lsn> {
        let oldest = self.wal.oldest();
        match after.get(&self.partition).map(Lsn::new) {
            None => Ok(oldest),
            Some(position) if position < oldest => {
                Err(self.missing(position, oldest, "the log has released it"))
            }
            Some(position) => Ok(position),
        }
    }

    fn missing(&self, from: Lsn, until: Lsn, reason: &str) -> Error {
        Error::Missing {
            range: self.range(from, until),
            reason: reason.to_owned(),
        }
    }

    fn range(&self, from: Lsn, until: Lsn) -> OffsetRange {
        OffsetRange {
            partition: self.partition.clone(),
            from: from.get(),
            until: until.get(),
        }
    }

    /// Makes sure that the next block to be read is the one at `position`.
    fn seek(&mut self, position: Lsn) -> Result<()> {
        if self.reader.is_none() || self.cursor != position {
            self.blocks.clear();
            self.partial.clear();
            self.reader = Some(self.wal.reader(position)?);
            self.cursor = position;
        }
        Ok(())
    }

    /// Reads the next whole block; `None` at the durable end.
    fn read_block(&mut self) -> Result<Option<ReadBlock>> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        for record in reader {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.reader = None;
                    return Err(error.into());
                }
            };
            let (lsn, ends) = (record.lsn, is_envelope(&record.payload));
            self.partial.push(record);
            if ends {
                let first = std::mem::replace(&mut self.cursor, lsn.plus(1));
                return Ok(Some(ReadBlock {
                    first,
                    end: self.cursor,
                    records: std::mem::take(&mut self.partial),
                }));
            }
            if self.partial.len() > BLOCK_RECORDS {
                return Err(Error::Format {
                    lsn,
                    reason: "no envelope ends this block; is this a receiver's log?".to_owned(),
                });
            }
        }
        Ok(None)
    }

    /// Waits for the next block, for at most `limit`; of a log that is closed none comes.
    fn look(&self, limit: Duration) -> Result<()> {
        match self.wal.wait_durable(self.cursor.plus(1), limit) {
            Err(wal_core::Error::Closed) => std::thread::sleep(limit),
            waited => drop(waited?),
        }
        Ok(())
    }
}

impl Source for WalSource {
    fn identity(&self) -> String {
        self.partition.topic().to_owned()
    }

    fn plan(&mut self, after: &Positions, limit: u64, wait: Duration) -> Result<Vec<OffsetRange>> {
        let deadline = Instant::now().checked_add(wait);
        let position = self.position(after)?;
        self.seek(position)?;
        let (mut end, mut records) = (position, 0);
        while records < limit {
            if let Some(block) = self.read_block()? {
                records += block.records.len() as u64 - 1;
                end = block.end;
                self.blocks.push_back(block);
            } else if end > position || deadline.is_some_and(|at| Instant::now() >= at) {
                break;
            } else {
                self.look(LOOK.min(wait))?;
            }
        }
        Ok(if end > position {
            vec![self.range(position, end)]
        } else {
            Vec::new()
        })
    }

    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let (from, until) = (Lsn::new(range.from), Lsn::new(range.until));
        while self.blocks.front().is_some_and(|block| block.end <= from) {
            self.blocks.pop_front();
        }
        if self.blocks.front().is_none_or(|block| block.first != from) {
            self.rewind(from, until)?;
        }
        let mut at = from;
        while at < until {
            let block = match self.blocks.pop_front() {
                Some(block) => Some(block),
                None => self.read_block()?,
            };
            let Some(block) = block else {
                return Err(self.missing(at, until, "the log ends before it"));
            };
            show(&block, self.wal.oldest(), each)?;
            at = block.end;
        }
        Ok(())
    }

    fn done(&mut self, positions: &Positions) -> Result<()> {
        match positions.get(&self.partition) {
            None | Some(0) => Ok(()),
            // All but the last envelope: the receiver's positions must outlive every
            // release (S2), also when nothing has come since.
            Some(position) if planted("last-positions-released") => {
                Ok(self.wal.release(Lsn::new(position))?)
            }
            Some(position) => Ok(self.wal.release(Lsn::new(position - 1))?),
        }
    }

    fn exhausted(&self, after: &Positions) -> bool {
        let position = after
            .get(&self.partition)
            .map_or(self.wal.oldest(), Lsn::new);
        self.finished.load(Ordering::Acquire) && position >= self.wal.durable()
    }
}

impl WalSource {
    /// Starts over at `from`, for a range that is not in memory.
    fn rewind(&mut self, from: Lsn, until: Lsn) -> Result<()> {
        let (oldest, durable) = (self.wal.oldest(), self.wal.durable());
        if from < oldest {
            return Err(self.missing(from, oldest.min(until), "the log has released it"));
        }
        if until > durable {
            let missing = self.missing(durable.max(from), until, "the log ends before it");
            return Err(missing);
        }
        self.reader = None;
        self.seek(from)
    }
}

/// Shows the data records of a block, and checks that they are what its envelope says.
/// Of the block at the log's oldest record the first ones may have been released.
fn show(block: &ReadBlock, oldest: Lsn, each: Each<'_>) -> Result<()> {
    let Some((last, data)) = block.records.split_last() else {
        return Ok(());
    };
    let at = |lsn: Lsn| {
        move |reason: &str| Error::Format {
            lsn,
            reason: reason.to_owned(),
        }
    };
    let LogRecord::Envelope(envelope) = LogRecord::decode(&last.payload).map_err(at(last.lsn))?
    else {
        return Err(at(last.lsn)("it does not end its block"));
    };
    let released = block.first <= oldest && envelope.records > data.len() as u64;
    if envelope.records != data.len() as u64 && !released {
        return Err(at(last.lsn)(
            "its envelope counts other records than there are",
        ));
    }
    for record in data {
        match LogRecord::decode(&record.payload).map_err(at(record.lsn))? {
            LogRecord::Data(data) => {
                each(data.resolve(&envelope.table).map_err(at(record.lsn))?)?;
            }
            LogRecord::Envelope(_) => return Err(at(record.lsn)("an envelope is out of place")),
        }
    }
    Ok(())
}
