//! The driver's memory: which batches are planned and which are done (S3).
//!
//! It is a log of its own. A batch is *planned* before it runs and *done* after
//! the sink has committed it; the next plan goes into the same atomic append as
//! the done of the batch before, so a batch costs one sync. Whatever the moment
//! of a crash, at most one batch is planned and not done, and it is run again
//! with exactly the same ranges.
//!
//! A snapshot of everything is appended every [`COMPACT_AFTER`] records; what
//! lies before it is then released. The bytes are in `records`.

mod records;

use wal_core::planted::planted;
use wal_core::{Append, Lsn, Wal};

use self::records::{Record, Snapshot};
use crate::{Batch, Error, Positions, Result};

/// Records of the log after which it is compacted.
const COMPACT_AFTER: u64 = 1_000;

/// Plans and dones of one pipeline, in a log that holds nothing else.
///
/// ```
/// use wal_core::{Options, Wal};
/// use wal_fs::FileStorage;
/// use wal_streaming::{Batch, Checkpoint, OffsetRange, Partition};
///
/// let dir = tempfile::tempdir()?;
/// let (wal, _) = Wal::open(FileStorage::open(dir.path())?, Options::default())?;
/// let mut checkpoint = Checkpoint::open(wal, "orders", &[], false)?;
/// let range = OffsetRange { partition: Partition::new("orders", 0), from: 0, until: 5 };
/// checkpoint.plan(Batch { id: 0, ranges: vec![range.clone()] })?;
/// checkpoint.done(None)?;
/// assert_eq!(checkpoint.positions().get(&range.partition), Some(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    wal: Wal,
    state: Snapshot,
    since_snapshot: u64,
}

impl Checkpoint {
    /// Reads the checkpoint in `wal`, or begins one if the log is empty. `config` is kept
    /// for whoever reads the checkpoint; when it has changed, it is noted and that is all.
    ///
    /// # Errors
    /// [`Error::Identity`] if the checkpoint belongs to another pipeline and `adopt` is
    /// false; [`Error::Format`] if the log is not a checkpoint; [`Error::Log`].
    pub fn open(
        wal: Wal,
        identity: &str,
        config: &[(String, String)],
        adopt: bool,
    ) -> Result<Checkpoint> {
        let (stored, since_snapshot) = read(&wal)?;
        let is_new = stored.is_none();
        let state = stored.unwrap_or_default();
        if !is_new && !adopt && state.identity != identity {
            return Err(Error::Identity {
                stored: state.identity,
                found: identity.to_owned(),
            });
        }
        let mut checkpoint = Checkpoint {
            wal,
            state,
            since_snapshot,
        };
        if is_new || checkpoint.state.identity != identity || checkpoint.state.config != config {
            checkpoint.write(&[Record::Pipeline {
                identity: identity.to_owned(),
                config: config.to_vec(),
            }])?;
        }
        Ok(checkpoint)
    }

    /// The batch that is planned and not done.
    #[must_use]
    pub fn pending(&self) -> Option<&Batch> {
        self.state.pending.as_ref()
    }

    /// Up to where everything is done.
    #[must_use]
    pub fn positions(&self) -> &Positions {
        &self.state.positions
    }

    /// How many batches are done; the next one that is not planned yet has at least this identifier.
    #[must_use]
    pub fn batches_done(&self) -> u64 {
        self.state.done
    }

    /// Notes durably that `batch` will be run. It must be the next one.
    ///
    /// # Errors
    /// [`Error::Log`]; [`Error::Setting`] if it is not the next.
    pub fn plan(&mut self, batch: Batch) -> Result<()> {
        self.write(&[Record::Plan(batch)])
    }

    /// Notes durably that the pending batch is done, and at once the plan of the next,
    /// if there is one.
    ///
    /// # Errors
    /// As [`Checkpoint::plan`].
    pub fn done(&mut self, next: Option<Batch>) -> Result<()> {
        let mut records = vec![Record::Done(self.state.done)];
        records.extend(next.map(Record::Plan));
        self.write(&records)
    }

    /// Appends `records` and, when it is time, a snapshot, all in one atomic append.
    fn write(&mut self, records: &[Record]) -> Result<()> {
        let mut state = self.state.clone();
        let mut append = Append::new();
        for record in records {
            state
                .apply(record.clone())
                .map_err(|reason| Error::Setting {
                    setting: "batch",
                    reason: reason.to_owned(),
                })?;
            append.push(&record.encode());
        }
        let due = self.since_snapshot >= COMPACT_AFTER;
        if due {
            let mut snapshot = state.clone();
            snapshot.pending = snapshot
                .pending
                .filter(|_| !planted("snapshot-forgets-the-plan"));
            append.push(&Record::Snapshot(snapshot).encode());
        }
        let written = match planted("plan-not-durable") {
            true => self
                .wal
                .append_with(append, wal_core::Durability::Accepted)?
                .wait()?,
            false => self.wal.commit(append)?,
        };
        self.state = state;
        self.since_snapshot += records.len() as u64;
        if due {
            self.since_snapshot = 0;
            // The snapshot is the last of these records; nothing before it is needed.
            self.wal
                .release(Lsn::new(written.end.get().saturating_sub(1)))?;
        }
        Ok(())
    }
}

/// The state that the log's records lead to, and how many there are since the last
/// snapshot. Records before the first snapshot are leftovers of a release.
fn read(wal: &Wal) -> Result<(Option<Snapshot>, u64)> {
    let mut state: Option<Snapshot> = None;
    let mut since_snapshot = 0;
    let mut leftover = None;
    for record in wal.reader(wal.oldest())? {
        let record = record?;
        let format = |reason: &str| Error::Format {
            lsn: record.lsn,
            reason: format!("{reason}; is this the log of a checkpoint?"),
        };
        since_snapshot += 1;
        match (Record::decode(&record.payload).map_err(format)?, &mut state) {
            (Record::Snapshot(snapshot), _) => {
                state = Some(snapshot);
                since_snapshot = 0;
            }
            (known, Some(state)) => state.apply(known).map_err(format)?,
            (Record::Pipeline { identity, config }, None) if record.lsn == Lsn::ZERO => {
                state = Some(Snapshot {
                    identity,
                    config,
                    ..Snapshot::default()
                });
            }
            _ => leftover = Some(record.lsn),
        }
    }
    match (&state, leftover) {
        (None, Some(lsn)) => Err(Error::Format {
            lsn,
            reason: "no snapshot follows this record of a checkpoint".to_owned(),
        }),
        _ => Ok((state, since_snapshot)),
    }
}
