//! The receiver: blocks from a feed into a store, acknowledged when stored.
//!
//! Two threads. The caller's fills blocks and hands them to the store; the other
//! waits for the store's tickets in order, so that it is known without delay when
//! a block may be acknowledged. The caller's thread passes that on to the feed.
//!
//! What holds at every moment, and so after every crash: what the feed was told
//! is in the store (S1); the store's positions say exactly which records it
//! holds (S2). Records that were received and not stored yet are forgotten, and
//! received again.

mod settle;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::settle::{InFlight, Settled, Tickets};
use crate::block::Limits;
use crate::{Block, Error, Feed, Result, Stop, Store};

/// How long an idle receiver waits for a record before it looks at anything else.
const IDLE: Duration = Duration::from_millis(20);

/// How a receiver cuts its input into blocks.
///
/// ```
/// use wal_streaming::ReceiverOptions;
/// let options = ReceiverOptions { block_records: 500, ..ReceiverOptions::default() };
/// assert_eq!(options.block_bytes, 1 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct ReceiverOptions {
    /// A block is full with this many records: 1 or more, default 10,000.
    pub block_records: u64,
    /// Or with this many bytes of keys and values: 1 or more, default 1 MiB. The last
    /// record may exceed it.
    pub block_bytes: u64,
    /// How long a block that is not full waits for more, default 5 ms.
    pub block_interval: Duration,
    /// How many blocks may be on their way into the store: 1 or more, default 8.
    pub in_flight: usize,
}

impl Default for ReceiverOptions {
    fn default() -> Self {
        ReceiverOptions {
            block_records: 10_000,
            block_bytes: 1 << 20,
            block_interval: Duration::from_millis(5),
            in_flight: 8,
        }
    }
}

impl ReceiverOptions {
    fn validate(&self) -> Result<()> {
        let at_least_one = |setting, value| match value {
            0 => Err(Error::Setting {
                setting,
                reason: "must be at least 1".to_owned(),
            }),
            _ => Ok(()),
        };
        at_least_one("block_records", self.block_records)?;
        at_least_one("block_bytes", self.block_bytes)?;
        at_least_one("in_flight", self.in_flight as u64)
    }
}

/// What a receiver did in one run.
///
/// ```
/// assert_eq!(wal_streaming::ReceiverReport::default().repeats_dropped, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiverReport {
    /// Blocks stored.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Records that came again although the store had them, and were dropped (S2).
    pub repeats_dropped: u64,
}

/// Is told when the records of a block were received, and how many each time: see
/// [`Receiver::on_permitted`].
///
/// ```
/// let slowest: wal_streaming::OnPermitted = Box::new(|stamps| {
///     if let Some((received, records)) = stamps.first() {
///         println!("{records} records, the first after {:?}", received.elapsed());
///     }
/// });
/// # drop(slowest);
/// ```
pub type OnPermitted = Box<dyn FnMut(&[(Instant, u64)]) + Send>;

/// Reads a feed, stores what comes, and acknowledges what is stored.
///
/// ```
/// use wal_core::{Options, Wal};
/// use wal_fs::FileStorage;
/// use wal_streaming::{Acknowledge, FileFeed, Receiver, ReceiverOptions, Stop, WalStore};
///
/// let dir = tempfile::tempdir()?;
/// let input = dir.path().join("orders.txt");
/// std::fs::write(&input, "first\nsecond\n")?;
/// let (wal, _) = Wal::open(FileStorage::open(dir.path().join("log"))?, Options::default())?;
/// let store = WalStore::open(wal, Acknowledge::Durable)?;
/// let feed = FileFeed::open(vec![input])?;
/// let options = ReceiverOptions::default();
/// let mut receiver = Receiver::new(Box::new(feed), Box::new(store), options)?;
/// assert_eq!(receiver.run(&Stop::new())?.records, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver {
    feed: Box<dyn Feed>,
    store: Box<dyn Store>,
    options: ReceiverOptions,
    observer: Option<OnPermitted>,
}

impl Receiver {
    /// A receiver that is ready to run.
    ///
    /// # Errors
    /// [`Error::Setting`] if an option is out of range.
    pub fn new(
        feed: Box<dyn Feed>,
        store: Box<dyn Store>,
        options: ReceiverOptions,
    ) -> Result<Receiver> {
        options.validate()?;
        Ok(Receiver {
            feed,
            store,
            options,
            observer: None,
        })
    }

    /// Calls `observer` as soon as a block may be acknowledged, with the times at which
    /// its records were received, and how many each time. From another thread.
    pub fn on_permitted(&mut self, observer: OnPermitted) {
        self.observer = Some(observer);
    }

    /// Receives until the feed is exhausted, `stop` is asked for, or something fails.
    /// Whatever the reason: waits for the blocks on their way, acknowledges those that
    /// are stored, and flushes the feed.
    ///
    /// # Errors
    /// What the feed or the store failed with.
    pub fn run(&mut self, stop: &Stop) -> Result<ReceiverReport> {
        self.feed.resume(&self.store.positions())?;
        let settled = Settled::default();
        let Receiver {
            feed,
            store,
            options,
            observer,
        } = self;
        std::thread::scope(|scope| {
            let (tickets, in_flight) = Tickets::channel(options.in_flight);
            // Lives in here: should a feed panic, the settler still sees the last ticket go.
            let mut intake = Intake {
                feed: feed.as_mut(),
                store: store.as_mut(),
                options,
                settled: &settled,
                tickets: Some(tickets),
                report: ReceiverReport::default(),
            };
            let settler = scope.spawn(|| settled.settle_all(in_flight, observer));
            let outcome = intake.run(stop);
            intake.tickets = None; // the settler ends with the last ticket
            if let Err(panic) = settler.join() {
                std::panic::resume_unwind(panic);
            }
            let finished = intake.finish();
            outcome.and(finished)?;
            Ok(intake.report)
        })
    }
}

/// The caller's thread: from the feed into blocks, from blocks into the store.
struct Intake<'a> {
    feed: &'a mut dyn Feed,
    store: &'a mut dyn Store,
    options: &'a ReceiverOptions,
    settled: &'a Settled,
    tickets: Option<Tickets>,
    report: ReceiverReport,
}

impl Intake<'_> {
    fn run(&mut self, stop: &Stop) -> Result<()> {
        let mut block = self.begin();
        let mut opened: Option<Instant> = None;
        loop {
            self.pass_on()?;
            if stop.is_stopped() {
                return self.submit(block);
            }
            self.feed.receive(&mut block, self.patience(opened))?;
            if !block.is_empty() && opened.is_none() {
                opened = Some(Instant::now());
            }
            let over = self.feed.exhausted();
            let leaving = self.feed.leaving();
            let due = opened.is_some_and(|at| at.elapsed() >= self.options.block_interval);
            if over || leaving || due || !block.has_room() {
                self.submit(block)?;
                (block, opened) = (self.begin(), None);
            }
            if over {
                return Ok(());
            }
            if leaving {
                self.drain()?;
            }
        }
    }

    /// How long `receive` may wait: a block that was opened is due soon.
    fn patience(&self, opened: Option<Instant>) -> Duration {
        opened.map_or(IDLE, |at| {
            self.options.block_interval.saturating_sub(at.elapsed())
        })
    }

    fn begin(&self) -> Block {
        let mut block = self.store.begin();
        let limits = Limits {
            records: self.options.block_records,
            bytes: self.options.block_bytes,
        };
        block.prepare(limits, Arc::new(self.store.positions()));
        block
    }

    /// Stores a block and hands its ticket to the settler; waits while too many are on their way.
    fn submit(&mut self, mut block: Block) -> Result<()> {
        self.report.repeats_dropped += block.repeats();
        if block.is_empty() {
            return Ok(());
        }
        let (records, bytes) = (block.records(), block.bytes());
        let (stamps, positions) = block.take_receipt();
        let ticket = self.store.store(block)?;
        self.report.blocks += 1;
        self.report.records += records;
        self.report.bytes += bytes;
        let in_flight = InFlight {
            ticket,
            positions,
            stamps,
        };
        match &self.tickets {
            Some(tickets) if tickets.send(in_flight) => Ok(()),
            // The settler ended early: it met an error, which `pass_on` returns.
            _ => self.pass_on(),
        }
    }

    /// Tells the feed what has been stored meanwhile (S1).
    fn pass_on(&mut self) -> Result<()> {
        match self.settled.take()? {
            Some(positions) => self.feed.acknowledge(&positions),
            None => Ok(()),
        }
    }

    /// The feed is about to lose its partitions: everything that came from them is stored
    /// and acknowledged first, so that whoever gets them does not receive it again (S5).
    fn drain(&mut self) -> Result<()> {
        self.settled.wait_for(self.report.blocks)?;
        self.pass_on()?;
        self.feed.flush()
    }

    /// The settler has ended: the last acknowledgements, and the failure if there was one.
    fn finish(&mut self) -> Result<()> {
        let permitted = self.pass_on();
        let failed = self.pass_on();
        let flushed = self.feed.flush();
        permitted.and(failed).and(flushed)
    }
}
