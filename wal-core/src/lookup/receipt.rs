//! Whether the log is still the one that a receipt is of.

use super::frame::Listing;
use super::{check_readable, lost, segment_of};
use crate::checksum::chain;
use crate::{Lsn, Receipt, Result, Wal};

impl Wal {
    /// Whether the log still holds everything that a receipt proves: then `Ok(true)`.
    /// `Ok(false)` if the records at its LSN were released, so that nothing can be said.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost) if it is of another log or of another history of this log, or reaches
    /// beyond its end.
    pub fn check(&self, receipt: &Receipt) -> Result<bool> {
        let shared = &self.handle.shared;
        receipt.check_log(Some(shared.log), shared.durable())?;
        let Some(last) = receipt.lsn.get().checked_sub(1).map(Lsn::new) else {
            return Ok(true);
        };
        if last < self.oldest() {
            return Ok(false);
        }
        check_readable(shared, last)?;
        let frame = Listing::of(shared, &segment_of(shared, last)?, last)?;
        let records = usize::try_from(receipt.lsn.since(frame.header.first)).unwrap_or(usize::MAX);
        let entries = frame.entries().take(records);
        let found = entries.fold(frame.header.chain, |sum, (length, crc)| {
            chain(sum, length, crc)
        });
        if found == receipt.chain {
            return Ok(true);
        }
        Err(lost(
            frame.segment,
            frame.offset,
            last,
            "the receipt is of another history: the log was truncated or restored since, and \
             other records took these LSNs",
        ))
    }
}
