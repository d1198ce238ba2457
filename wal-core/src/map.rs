//! Where readers look up segments: the live handle's state, or a read-only view.
//!
//! Asked once a frame or segment, not once a record, but for the number of truncations.

use std::fmt;
use std::sync::Arc;

use crate::planted::planted;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::sync::Ordering;
use crate::{Error, Lsn, Result, SegmentId, Storage};

/// The segments of a log, and how far it may be read.
pub(crate) trait Map: fmt::Debug + Send + Sync {
    fn storage(&self) -> &Arc<dyn Storage>;

    /// Readers see what lies below (G10).
    fn durable(&self) -> Lsn;

    /// The oldest record that may be read.
    fn oldest(&self) -> Lsn;

    /// The segment that holds `lsn`, or the one that will.
    fn segment_of(&self, lsn: Lsn) -> Result<Option<SegmentInfo>>;

    /// What is known of a segment, and of the one after it.
    fn segment_and_next(&self, id: SegmentId)
    -> Result<(Option<SegmentInfo>, Option<SegmentInfo>)>;

    /// Where the log leaves this segment: its successor knows, or it is the last.
    fn limit_of(&self, id: SegmentId) -> Result<u64> {
        Ok(match self.segment_and_next(id)? {
            (_, Some(after)) if after.header.previous == id => after.header.previous_end,
            (Some(here), _) => here.end,
            (None, _) => 0,
        })
    }

    /// How often the log was truncated. Asked once a record.
    fn truncations(&self) -> u64;

    /// The lowest LSN that was truncated to since there were so many truncations.
    fn truncated_since(&self, seen: u64) -> Option<Lsn>;

    /// A record below the durable LSN could not be read. `Ok`: the map was out of date, so it
    /// is worth another try; else the error, in the words that fit.
    fn unreadable(&self, lsn: Lsn, error: Error) -> Result<()>;
}

impl Map for Shared {
    fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    fn durable(&self) -> Lsn {
        if planted("readers-see-what-is-not-durable") {
            return self.state.lock().written;
        }
        Shared::durable(self)
    }

    fn oldest(&self) -> Lsn {
        self.state.lock().retention.floor()
    }

    fn segment_of(&self, lsn: Lsn) -> Result<Option<SegmentInfo>> {
        Shared::segment_of(self, lsn)
    }

    fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> Result<(Option<SegmentInfo>, Option<SegmentInfo>)> {
        Shared::segment_and_next(self, id)
    }

    fn truncations(&self) -> u64 {
        self.truncated.load(Ordering::SeqCst)
    }

    fn truncated_since(&self, seen: u64) -> Option<Lsn> {
        self.state.lock().truncations.since(seen)
    }

    /// Nobody else changes the log, and readers hold what they read: it is lost.
    fn unreadable(&self, _lsn: Lsn, error: Error) -> Result<()> {
        Err(error)
    }
}
