//! Where a receiver puts blocks, and when it may acknowledge them.

use wal_core::planted::planted;
use wal_core::{Commit, Durability, Lsn, Wal};

use crate::envelope::{LogRecord, is_envelope};
use crate::syncer::Syncer;
use crate::{Block, Error, Positions, Result};

/// Keeps blocks, in the order in which they come.
///
/// ```
/// use wal_streaming::{Block, Positions, Result, Store, Ticket};
///
/// /// Forgets everything but the positions.
/// struct Forget(Positions);
///
/// impl Store for Forget {
///     fn positions(&self) -> Positions {
///         self.0.clone()
///     }
///     fn store(&mut self, block: Block) -> Result<Ticket> {
///         self.0.merge(block.positions());
///         Ok(Ticket::ready())
///     }
/// }
/// # Forget(Positions::default()).store(Block::new())?.wait()?;
/// # Ok::<(), wal_streaming::Error>(())
/// ```
pub trait Store: Send {
    /// The positions up to which everything is stored, or on its way into the store.
    fn positions(&self) -> Positions;

    /// An empty block, in the form that this store takes.
    fn begin(&self) -> Block {
        Block::new()
    }

    /// Takes a block. May wait for room, but not for the block to be stored:
    /// that is what the ticket tells.
    ///
    /// # Errors
    /// [`Error::Log`] or [`Error::Source`]; the block was not taken then.
    fn store(&mut self, block: Block) -> Result<Ticket>;
}

/// Tells when a block is stored so well that it may be acknowledged (S1).
///
/// ```
/// use wal_streaming::Ticket;
/// let ticket = Ticket::ready();
/// assert!(ticket.is_ready());
/// ticket.wait()?;
/// # Ok::<(), wal_streaming::Error>(())
/// ```
#[must_use]
#[derive(Debug)]
pub struct Ticket(Option<Commit>);

impl Ticket {
    /// For a store that is done at once.
    pub fn ready() -> Self {
        Ticket(None)
    }

    /// Whether `wait` would return at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(Commit::is_ready)
    }

    /// Waits until the block may be acknowledged.
    ///
    /// # Errors
    /// [`Error::Log`]: the block may or may not be stored, and must not be acknowledged.
    pub fn wait(self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(_) if planted("block-acknowledged-before-it-is-durable") => Ok(()),
            Some(commit) => commit.wait().map(drop).map_err(Error::from),
        }
    }
}

impl From<Commit> for Ticket {
    fn from(commit: Commit) -> Self {
        Ticket(Some(commit))
    }
}

/// When a block in the log may be acknowledged.
///
/// ```
/// assert_eq!(wal_streaming::Acknowledge::default(), wal_streaming::Acknowledge::Durable);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Acknowledge {
    /// When it is durable: it survives kill -9, a crash of the system, power loss (S1).
    #[default]
    Durable,
    /// When the operating system has it: it survives kill -9, but not a power cut,
    /// which may cost everything of about the last 50 ms, although the source was
    /// told that it is safe. A replayable source is read again from the log's
    /// position; any other has lost these records.
    Accepted,
}

/// Keeps blocks in a log, each with the positions that it reaches, in one atomic append.
///
/// After a restart it knows from the log, and from nothing else, how far it got (S2).
///
/// ```
/// use wal_core::{Options, Wal};
/// use wal_fs::FileStorage;
/// use wal_streaming::{Acknowledge, Block, Partition, RecordRef, Store, WalStore};
///
/// let dir = tempfile::tempdir()?;
/// let (wal, _) = Wal::open(FileStorage::open(dir.path())?, Options::default())?;
/// let mut store = WalStore::open(wal, Acknowledge::Durable)?;
/// let partition = Partition::new("orders", 0);
/// let mut block = store.begin();
/// block.push(RecordRef { partition: &partition, offset: 0, key: None, value: b"order" });
/// store.store(block)?.wait()?;
/// assert_eq!(store.positions().get(&partition), Some(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WalStore {
    wal: Wal,
    positions: Positions,
    durability: Durability,
    // Makes accepted blocks durable a little later; ends when the store is dropped.
    _syncer: Option<Syncer>,
}

impl WalStore {
    /// A store in `wal`, which must hold nothing but a receiver's blocks.
    /// Reads the newest segment to find the positions.
    ///
    /// # Errors
    /// [`Error::Log`]; [`Error::Format`] if the log holds something else.
    pub fn open(wal: Wal, acknowledge: Acknowledge) -> Result<WalStore> {
        let positions = recover(&wal)?;
        let (durability, syncer) = match acknowledge {
            Acknowledge::Durable => (Durability::Durable, None),
            Acknowledge::Accepted => (Durability::Accepted, Some(Syncer::start(wal.clone())?)),
        };
        Ok(WalStore {
            wal,
            positions,
            durability,
            _syncer: syncer,
        })
    }
}

impl Store for WalStore {
    fn positions(&self) -> Positions {
        self.positions.clone()
    }

    fn store(&mut self, block: Block) -> Result<Ticket> {
        if block.is_empty() {
            return Ok(Ticket::ready());
        }
        let mut reached = self.positions.clone();
        reached.merge(block.positions());
        let stored = match planted("positions-of-quiet-partitions-not-stored") {
            true => block.positions().clone(),
            false => reached.clone(),
        };
        let append = block.into_append(stored);
        let commit = self.wal.append_with(append, self.durability)?;
        // Only now: a block that the log refused has not moved anything.
        self.positions = reached;
        Ok(commit.into())
    }
}

/// The positions in the newest envelope. The newest segment holds one, because every
/// block ends in one; should it hold none, the whole log is read. A log that was used
/// and has no envelope any more does not say where to go on.
fn recover(wal: &Wal) -> Result<Positions> {
    let newest = wal.newest_segment();
    let mut found = last_envelope(wal, newest)?;
    if found.is_none() && newest > wal.oldest() {
        found = last_envelope(wal, wal.oldest())?;
    }
    match found {
        Some(positions) => Ok(positions),
        None if wal.durable() == Lsn::ZERO => Ok(Positions::default()),
        None => Err(Error::Format {
            lsn: wal.oldest(),
            reason: "no envelope of a receiver is left from here on; \
                is this a receiver's log, and who released all of it?"
                .to_owned(),
        }),
    }
}

fn last_envelope(wal: &Wal, from: Lsn) -> Result<Option<Positions>> {
    let mut last = None;
    for record in wal.reader(from)? {
        let record = record?;
        if is_envelope(&record.payload) {
            last = Some(record);
        }
    }
    let Some(last) = last else { return Ok(None) };
    let format = |reason: &str| Error::Format {
        lsn: last.lsn,
        reason: reason.to_owned(),
    };
    match LogRecord::decode(&last.payload).map_err(format)? {
        LogRecord::Envelope(envelope) => Ok(Some(envelope.positions)),
        LogRecord::Data(_) => Err(format("it is not an envelope")),
    }
}
