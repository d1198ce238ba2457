//! What a receiver reads: a source that wants to be acknowledged.

use std::time::Duration;

use crate::{Block, Positions, Result};

/// Records that come in and are acknowledged once they are stored (S1): a Kafka
/// consumer group, a file that is followed, anything that can be told "we have it".
///
/// ```
/// use std::time::Duration;
/// use wal_streaming::{Block, Feed, Partition, Positions, RecordRef, Result};
///
/// /// The numbers up to ten.
/// struct Numbers(Partition, u64);
///
/// impl Feed for Numbers {
///     fn identity(&self) -> String {
///         "numbers".to_owned()
///     }
///     fn resume(&mut self, positions: &Positions) -> Result<()> {
///         self.1 = positions.get(&self.0).unwrap_or(0);
///         Ok(())
///     }
///     fn receive(&mut self, block: &mut Block, _wait: Duration) -> Result<()> {
///         while block.has_room() && !self.exhausted() {
///             let (offset, value) = (self.1, self.1.to_string());
///             let value = value.as_bytes();
///             block.push(RecordRef { partition: &self.0, offset, key: None, value });
///             self.1 += 1;
///         }
///         Ok(())
///     }
///     fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
///         Ok(())
///     }
///     fn flush(&mut self) -> Result<()> {
///         Ok(())
///     }
///     fn exhausted(&self) -> bool {
///         self.1 == 10
///     }
/// }
///
/// let mut block = Block::new();
/// Numbers(Partition::new("numbers", 0), 0).receive(&mut block, Duration::ZERO)?;
/// assert_eq!(block.records(), 10);
/// # Ok::<(), wal_streaming::Error>(())
/// ```
pub trait Feed: Send {
    /// What this feed reads, for the pipeline's identity.
    fn identity(&self) -> String;

    /// Called once, before the first `receive`: the positions that the receiver's log
    /// holds. A feed that can replay by position goes on exactly there, whatever
    /// the outside source believes was acknowledged (S2).
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source).
    fn resume(&mut self, positions: &Positions) -> Result<()>;

    /// Adds what is there to `block`, until the block is full or nothing more is at hand;
    /// waits up to `wait` for the first record.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source), [`Error::Missing`](crate::Error::Missing).
    fn receive(&mut self, block: &mut Block, wait: Duration) -> Result<()>;

    /// Everything below `positions` is stored: the source may be told so.
    /// May be deferred until the next call or `flush`.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source).
    fn acknowledge(&mut self, positions: &Positions) -> Result<()>;

    /// Hands over every deferred acknowledgement, and waits for the source to confirm.
    ///
    /// # Errors
    /// [`Error::Source`](crate::Error::Source).
    fn flush(&mut self) -> Result<()>;

    /// Whether the feed is about to lose partitions that it read (S5). The receiver then
    /// stores and acknowledges what it has before it calls `receive` again, which lets go.
    fn leaving(&self) -> bool {
        false
    }

    /// Whether a bounded feed has delivered everything.
    fn exhausted(&self) -> bool {
        false
    }
}
