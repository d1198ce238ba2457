//! What a driver reads: anything that can serve the same range twice.
//!
//! Direct mode's ranges are offsets of the outside source (Kafka, files);
//! receiver mode's are LSNs of the receiver's own log. The driver knows no
//! third thing.

use std::time::Duration;

use crate::{OffsetRange, Positions, RecordRef, Result};

/// Receives the records of a range, one after the other.
///
/// ```
/// use wal_streaming::{Each, Partition, RecordRef, Result};
/// fn show_one(each: Each<'_>) -> Result<()> {
///     let partition = Partition::new("orders", 0);
///     each(RecordRef { partition: &partition, offset: 0, key: None, value: b"order" })
/// }
/// # show_one(&mut |_| Ok(())).unwrap();
/// ```
pub type Each<'a> = &'a mut dyn FnMut(RecordRef<'_>) -> Result<()>;

/// A replayable source: the same range gives the same records, also after a crash.
///
/// ```
/// use std::time::Duration;
/// use wal_streaming::{Each, OffsetRange, Partition, Positions, RecordRef, Result, Source};
///
/// /// The numbers from 0 on.
/// struct Numbers(Partition);
///
/// impl Source for Numbers {
///     fn identity(&self) -> String {
///         "numbers".to_owned()
///     }
///     fn plan(&mut self, after: &Positions, limit: u64, _: Duration) -> Result<Vec<OffsetRange>> {
///         let from = after.get(&self.0).unwrap_or(0);
///         Ok(vec![OffsetRange { partition: self.0.clone(), from, until: from + limit }])
///     }
///     fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
///         for offset in range.from..range.until {
///             let value = offset.to_string();
///             let value = value.as_bytes();
///             each(RecordRef { partition: &self.0, offset, key: None, value })?;
///         }
///         Ok(())
///     }
///     fn done(&mut self, _: &Positions) -> Result<()> {
///         Ok(())
///     }
/// }
///
/// let mut source = Numbers(Partition::new("numbers", 0));
/// let ranges = source.plan(&Positions::default(), 3, Duration::ZERO)?;
/// assert_eq!(ranges[0].to_string(), "numbers[0] 0..3");
/// # Ok::<(), wal_streaming::Error>(())
/// ```
pub trait Source: Send {
    /// What this source reads, for the pipeline's identity: stable over restarts
    /// (`kafka:orders`, `file:/data/in.jsonl`, `log:orders`).
    fn identity(&self) -> String;

    /// The next ranges after `after`, at most `limit` records in all, in a fixed order.
    /// Waits up to `wait` for the first record; an empty answer means that none came.
    ///
    /// # Errors
    /// Data between `after` and what the source still has is gone: [`Error::Missing`](crate::Error::Missing);
    /// the source cannot be reached: [`Error::Source`](crate::Error::Source).
    fn plan(&mut self, after: &Positions, limit: u64, wait: Duration) -> Result<Vec<OffsetRange>>;

    /// Shows every record of `range`, in order, to `each`.
    ///
    /// # Errors
    /// As for `plan`, and whatever `each` returned.
    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()>;

    /// Everything below `positions` is in the sink, durably: it may be released
    /// or committed to the outside source.
    ///
    /// # Errors
    /// As for `plan`.
    fn done(&mut self, positions: &Positions) -> Result<()>;

    /// Whether a bounded source has nothing after `after` and never will.
    fn exhausted(&self, after: &Positions) -> bool {
        let _ = after;
        false
    }
}
