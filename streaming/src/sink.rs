//! Where batches go.

use std::fmt;

use crate::{OffsetRange, RecordRef, Result};

/// A planned batch: an identifier and exactly these ranges, for ever (S3).
///
/// ```
/// use wal_streaming::{Batch, OffsetRange, Partition};
/// let range = OffsetRange { partition: Partition::new("orders", 0), from: 0, until: 5 };
/// let batch = Batch { id: 1, ranges: vec![range] };
/// assert_eq!(batch.ranges.len(), 1);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// Dense, from 0; a re-run has the same.
    pub id: u64,
    /// What it covers.
    pub ranges: Vec<OffsetRange>,
}

/// What happens in the sink when a batch is run twice (S4).
///
/// ```
/// assert_eq!(wal_streaming::Delivery::AtLeastOnce.to_string(), "at least once");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Exactly once: a second run of a batch replaces the first.
    Idempotent,
    /// Exactly once: a second run of a committed batch is recognised and dropped.
    Transactional,
    /// At least once: a second run shows its records again.
    AtLeastOnce,
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::Idempotent => "exactly once (idempotent sink, keyed by batch)",
            Delivery::Transactional => "exactly once (transactional sink)",
            Delivery::AtLeastOnce => "at least once",
        })
    }
}

/// Takes batches. The driver calls `begin`, then `write` for each record, then `commit`;
/// one batch at a time, in order of their identifiers.
///
/// ```
/// use wal_streaming::{Batch, Delivery, RecordRef, Result, Sink};
///
/// /// Prints every record, again if a batch is run again.
/// struct Print;
///
/// impl Sink for Print {
///     fn delivery(&self) -> Delivery {
///         Delivery::AtLeastOnce
///     }
///     fn begin(&mut self, batch: &Batch) -> Result<()> {
///         println!("batch {}", batch.id);
///         Ok(())
///     }
///     fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
///         println!("{} {}", record.partition, record.offset);
///         Ok(())
///     }
///     fn commit(&mut self, _batch: &Batch) -> Result<()> {
///         Ok(())
///     }
/// }
/// # Print.begin(&Batch { id: 0, ranges: vec![] }).unwrap();
/// ```
pub trait Sink: Send {
    /// What a repeated batch means here.
    fn delivery(&self) -> Delivery;

    /// Starts a batch; what an unfinished earlier `begin` wrote is dropped.
    ///
    /// # Errors
    /// [`Error::Sink`](crate::Error::Sink).
    fn begin(&mut self, batch: &Batch) -> Result<()>;

    /// Adds a record to the batch that was begun.
    ///
    /// # Errors
    /// [`Error::Sink`](crate::Error::Sink).
    fn write(&mut self, record: RecordRef<'_>) -> Result<()>;

    /// Makes the batch visible and durable, as a whole.
    ///
    /// # Errors
    /// [`Error::Sink`](crate::Error::Sink).
    fn commit(&mut self, batch: &Batch) -> Result<()>;
}
