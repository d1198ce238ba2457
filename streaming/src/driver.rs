//! The driver: plans batches, runs them, remembers what is done.
//!
//! It knows a source of ranges and a sink of batches, and nothing else: direct
//! mode and receiver mode are the same to it.
//!
//! The order of things is what makes a crash harmless (S3). The plan of a batch
//! is durable before the sink sees its first record. The batch is noted as done
//! after the sink has committed it, in one append with the plan of the next.
//! Only then is the source told. So after a crash the driver finds at most one
//! batch that is planned and not done, and runs it again, with the same
//! identifier and exactly the same ranges; the sink's kind says what that means
//! for the output (S4).

mod batch;
mod options;

use wal_core::Wal;
use wal_core::planted::planted;

pub use self::batch::BatchReport;
pub use self::options::{DriverOptions, Missing};
use crate::{Batch, Checkpoint, Delivery, Error, Positions, Result, Sink, Source, Stop};

/// Where a driver goes on.
///
/// ```
/// use wal_streaming::{Delivery, Resumed};
/// let first_start = Resumed {
///     batches_done: 0,
///     rerun: None,
///     positions: Default::default(),
///     delivery: Delivery::Idempotent,
/// };
/// assert_eq!(first_start.delivery.to_string(), "exactly once (idempotent sink, keyed by batch)");
/// ```
#[derive(Clone, Debug)]
pub struct Resumed {
    /// Batches that earlier runs have done.
    pub batches_done: u64,
    /// The batch that was planned and not done, and will be run again.
    pub rerun: Option<u64>,
    /// Up to where the source is done.
    pub positions: Positions,
    /// What the sink makes of a batch that is run again: state it to the user (S4).
    pub delivery: Delivery,
}

/// What one step of a driver did.
///
/// ```
/// use wal_streaming::Step;
/// assert!(!matches!(Step::Idle, Step::Ran(_)));
/// ```
#[derive(Clone, Debug)]
pub enum Step {
    /// A batch was run, and is done.
    Ran(BatchReport),
    /// Nothing came within [`DriverOptions::wait`].
    Idle,
    /// The source has nothing more and never will.
    Exhausted,
}

/// What a driver did in one run.
///
/// ```
/// assert_eq!(wal_streaming::DriverReport::default().skipped, 0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DriverReport {
    /// Batches done.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Offsets that were gone from the source and skipped ([`Missing::Skip`]).
    pub skipped: u64,
}

/// Is told of each batch: see [`Driver::on_batch`].
///
/// ```
/// let progress: wal_streaming::OnBatch = Box::new(|batch| {
///     println!("batch {}: {} records", batch.id, batch.records);
/// });
/// # drop(progress);
/// ```
pub type OnBatch = Box<dyn FnMut(&BatchReport) + Send>;

/// Runs batches from a source into a sink, with a checkpoint in a log of its own.
///
/// ```
/// use wal_core::{Options, Wal};
/// use wal_fs::FileStorage;
/// use wal_streaming::{CountingSink, Driver, DriverOptions, FileSource, Stop};
///
/// let dir = tempfile::tempdir()?;
/// let input = dir.path().join("orders.txt");
/// std::fs::write(&input, "first\nsecond\n")?;
/// let storage = FileStorage::open(dir.path().join("checkpoint"))?;
/// let (checkpoint, _) = Wal::open(storage, Options::default())?;
/// let (mut driver, resumed) = Driver::open(
///     Box::new(FileSource::open(vec![input])?),
///     Box::new(CountingSink::new()),
///     checkpoint,
///     DriverOptions::new("orders"),
/// )?;
/// assert_eq!(resumed.rerun, None);
/// assert_eq!(driver.run(&Stop::new())?.records, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Driver {
    source: Box<dyn Source>,
    sink: Box<dyn Sink>,
    checkpoint: Checkpoint,
    options: DriverOptions,
    observer: Option<OnBatch>,
}

impl Driver {
    /// Opens the checkpoint in the log `checkpoint`, which must be empty or hold nothing else.
    ///
    /// # Errors
    /// [`Error::Identity`] if the checkpoint belongs to another pipeline: another name,
    /// source or kind of sink; [`DriverOptions::adopt`] accepts it all the same.
    /// [`Error::Setting`], [`Error::Format`], [`Error::Log`].
    pub fn open(
        source: Box<dyn Source>,
        sink: Box<dyn Sink>,
        checkpoint: Wal,
        options: DriverOptions,
    ) -> Result<(Driver, Resumed)> {
        options.validate()?;
        let delivery = sink.delivery();
        let identity = format!("{}: {} -> {delivery}", options.pipeline, source.identity());
        let checkpoint = Checkpoint::open(checkpoint, &identity, &options.config, options.adopt)?;
        let resumed = Resumed {
            batches_done: checkpoint.batches_done(),
            rerun: checkpoint.pending().map(|batch| batch.id),
            positions: checkpoint.positions().clone(),
            delivery,
        };
        let driver = Driver {
            source,
            sink,
            checkpoint,
            options,
            observer: None,
        };
        Ok((driver, resumed))
    }

    /// Calls `observer` after each batch, when it is durably noted as done.
    pub fn on_batch(&mut self, observer: OnBatch) {
        self.observer = Some(observer);
    }

    /// Runs one batch: the one that an earlier run left, or the next.
    ///
    /// # Errors
    /// What the source, the sink or the checkpoint failed with. The batch stays planned;
    /// the next step, or the next start, runs it again.
    pub fn step(&mut self) -> Result<Step> {
        let batch = match self.checkpoint.pending() {
            Some(_) if planted("batch-in-doubt-skipped") => {
                self.checkpoint.done(None)?;
                return Ok(Step::Idle);
            }
            Some(batch) => batch.clone(),
            None => match self.plan(self.options.wait)? {
                Some(batch) => {
                    self.checkpoint.plan(batch.clone())?;
                    batch
                }
                None if self.source.exhausted(self.checkpoint.positions()) => {
                    return Ok(Step::Exhausted);
                }
                None => return Ok(Step::Idle),
            },
        };
        if planted("batch-done-before-it-is-in-the-sink") {
            self.checkpoint.done(None)?;
        }
        let report = batch::run(
            self.source.as_mut(),
            self.sink.as_mut(),
            &batch,
            self.options.missing,
        )?;
        if !planted("batch-done-before-it-is-in-the-sink") {
            let next = self.plan_after(&batch);
            self.checkpoint.done(next)?;
        }
        self.source.done(self.checkpoint.positions())?;
        if let Some(observer) = &mut self.observer {
            observer(&report);
        }
        Ok(Step::Ran(report))
    }

    /// Runs batches until the source is exhausted or `stop` is asked for.
    ///
    /// # Errors
    /// As [`Driver::step`].
    pub fn run(&mut self, stop: &Stop) -> Result<DriverReport> {
        let mut report = DriverReport::default();
        while !stop.is_stopped() {
            match self.step()? {
                Step::Idle => {}
                Step::Exhausted => break,
                Step::Ran(batch) => {
                    report.batches += 1;
                    report.records += batch.records;
                    report.bytes += batch.bytes;
                    report.skipped += batch.skipped;
                }
            }
        }
        Ok(report)
    }

    /// The next batch after what is done, if something comes within `wait`.
    fn plan(&mut self, wait: std::time::Duration) -> Result<Option<Batch>> {
        let (positions, id) = (
            self.checkpoint.positions().clone(),
            self.checkpoint.batches_done(),
        );
        self.plan_from(&positions, id, wait)
    }

    /// The batch after `batch`, if there is something at hand. A failure is left to the
    /// next step, because `batch` is in the sink and has to be noted as done.
    fn plan_after(&mut self, batch: &Batch) -> Option<Batch> {
        let mut positions = self.checkpoint.positions().clone();
        for range in &batch.ranges {
            positions.advance(&range.partition, range.until);
        }
        self.plan_from(&positions, batch.id + 1, std::time::Duration::ZERO)
            .unwrap_or_default()
    }

    fn plan_from(
        &mut self,
        positions: &Positions,
        id: u64,
        wait: std::time::Duration,
    ) -> Result<Option<Batch>> {
        let ranges = match self
            .source
            .plan(positions, self.options.batch_records, wait)
        {
            // What is gone becomes a batch of its own, in which it is counted.
            Err(Error::Missing { range, reason })
                if self.options.missing == Missing::Skip
                    && Some(range.until) > positions.get(&range.partition) =>
            {
                tracing::warn!(%range, reason, "skipping what is gone from the source");
                vec![range]
            }
            planned => planned?,
        };
        Ok((!ranges.is_empty()).then_some(Batch { id, ranges }))
    }
}
