//! How a driver cuts and runs batches.

use std::time::Duration;

use crate::{Error, Result};

/// What to do about a range that is gone from the source (S6).
///
/// ```
/// assert_eq!(wal_streaming::Missing::default(), wal_streaming::Missing::Fail);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missing {
    /// Stop with [`Error::Missing`], which names it.
    #[default]
    Fail,
    /// Count its offsets as skipped and go on. A batch that is run again may then hold
    /// less than in its first run.
    Skip,
}

/// How a driver behaves.
///
/// ```
/// use wal_streaming::DriverOptions;
/// let options = DriverOptions { batch_records: 500, ..DriverOptions::new("orders") };
/// assert_eq!(options.pipeline, "orders");
/// ```
#[derive(Clone, Debug)]
pub struct DriverOptions {
    /// The pipeline's name: part of its identity, which the checkpoint keeps.
    pub pipeline: String,
    /// The most records in a batch: 1 or more, default 100,000. A receiver's log rounds
    /// up to whole blocks.
    pub batch_records: u64,
    /// How long a step waits for records when there are none, default 50 ms.
    pub wait: Duration,
    /// What to do about a range that is gone from the source.
    pub missing: Missing,
    /// Whether to take over a checkpoint that belongs to another pipeline, default no.
    pub adopt: bool,
    /// Settings to keep in the checkpoint, for whoever reads it.
    pub config: Vec<(String, String)>,
}

impl DriverOptions {
    /// The defaults, for a pipeline of this name.
    #[must_use]
    pub fn new(pipeline: impl Into<String>) -> Self {
        DriverOptions {
            pipeline: pipeline.into(),
            batch_records: 100_000,
            wait: Duration::from_millis(50),
            missing: Missing::default(),
            adopt: false,
            config: Vec::new(),
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        if self.batch_records > 0 {
            return Ok(());
        }
        Err(Error::Setting {
            setting: "batch_records",
            reason: "must be at least 1".to_owned(),
        })
    }
}
