//! The LSN at a time: by the headers of the segments, then by the index of one.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::index::index_of;
use super::info_of;
use crate::frame::Kind;
use crate::map::Map;
use crate::scan::Walker;
use crate::shared::Shared;
use crate::{Lsn, Result, SegmentId, Wal};

impl Wal {
    /// The first LSN that was written at or after `time`; the end of what is durable if none was.
    /// Within the log times never go back: if the clock does, the log's stays where it was.
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost), [`Error::Storage`](crate::Error::Storage).
    pub fn seek_time(&self, time: SystemTime) -> Result<Lsn> {
        let shared = &self.handle.shared;
        let hold = self.hold(self.oldest())?; // nothing vanishes meanwhile
        let time = micros(time);
        let ids: Vec<SegmentId> = {
            let state = shared.state.lock();
            let held = state.segments.since(hold.from());
            held.map(|known| known.id).collect() // older ones may be going just now
        };
        // The last segment that was begun before that time holds it, or ends before it.
        let (mut low, mut high) = (0, ids.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let info = ids.get(middle).map(|id| info_of(shared, *id)).transpose()?;
            match info {
                Some(info) if info.header.created < time => low = middle + 1,
                _ => high = middle,
            }
        }
        let found = match low.checked_sub(1).and_then(|at| ids.get(at)) {
            Some(id) => first_frame_at(shared, *id, time)?,
            None => None,
        };
        let next = ids.get(low).map(|id| info_of(shared, *id)).transpose()?;
        let next = next.map(|info| info.header.first);
        let found = found.or(next).unwrap_or(shared.durable());
        Ok(found.clamp(hold.from(), shared.durable()))
    }
}

/// The first LSN of a segment that was written at or after `time`.
fn first_frame_at(shared: &Shared, id: SegmentId, time: i64) -> Result<Option<Lsn>> {
    let segment = info_of(shared, id)?;
    let limit = shared.limit_of(id)?;
    let index = index_of(shared, &segment, limit)?;
    let Some((entry, _)) = index.lock().before(time) else {
        return Ok(None);
    };
    let mut walker = Walker::new(Arc::clone(&shared.storage), segment.header, limit).at(
        entry.offset,
        entry.lsn,
        0,
    );
    while let Some((_, header)) = walker.next_header()? {
        if header.kind == Kind::Records && header.time >= time {
            return Ok(Some(header.first));
        }
    }
    Ok(None)
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
