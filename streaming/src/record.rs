//! A record on its way from a source to a sink.

use crate::Partition;

/// A record as a source shows it: borrowed from the source's own memory, with the
/// place it came from. That place, (partition, offset), is its identity.
///
/// ```
/// use wal_streaming::{Partition, RecordRef};
/// let partition = Partition::new("orders", 0);
/// let record = RecordRef { partition: &partition, offset: 7, key: None, value: b"order" };
/// assert_eq!(record.value, b"order");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef<'a> {
    /// Where it came from first: also when it is read back from a receiver's log.
    pub partition: &'a Partition,
    /// Its offset there.
    pub offset: u64,
    /// Its key, if the source has keys.
    pub key: Option<&'a [u8]>,
    /// The payload.
    pub value: &'a [u8],
}
