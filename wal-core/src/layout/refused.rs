//! What must not be taken for a leftover, and so be deleted: segments of another log, out of place,
//! or damaged where they were stored whole (G4).

use std::sync::Arc;

use super::header::start_of;
use crate::block::block_on;
use crate::frame;
use crate::planted::planted;
use crate::segment::{HEADER_BYTES, SegmentHeader};
use crate::{Error, Lsn, Position, Result, SegmentId, Storage};

pub(super) fn check_link(header: &SegmentHeader, next: &SegmentHeader) -> Result<()> {
    if header.log != next.log {
        return Err(lost_before(next, "the segment belongs to another log"));
    }
    if header.first > next.first {
        return Err(lost_before(next, "the segment begins after its successor"));
    }
    Ok(())
}

/// A leftover is deleted, so it must be one: of this log, and replaced by a segment that
/// knew of an older one.
pub(super) fn refuse_if_foreign(header: &SegmentHeader, next: &SegmentHeader) -> Result<()> {
    if header.log == next.log && next.previous > SegmentId::default() {
        return Ok(());
    }
    Err(Error::Lost {
        lost: header.first..Lsn::MAX,
        at: start_of(next.segment, next.first),
        reason: format!(
            "segment {} begins a log of its own, but segment {} stands before it: two logs were \
             mixed; move one of them elsewhere",
            next.segment, header.segment
        ),
    })
}

pub(crate) fn lost_before(next: &SegmentHeader, reason: &str) -> Error {
    Error::Lost {
        lost: next.first..next.first,
        at: start_of(next.previous, next.first),
        reason: format!(
            "{reason}; segment {} continues it, and holds the records from LSN {} on",
            next.segment, next.first
        ),
    }
}

/// A segment whose header does not verify is a leftover of its own first append, unless a
/// frame of a later append stands in it: then the first was stored, and the header is
/// damaged. Frames of the file's earlier uses claim other segments.
pub(super) fn refuse_if_acknowledged(
    storage: &Arc<dyn Storage>,
    id: SegmentId,
    reason: &str,
) -> Result<()> {
    const WINDOW: u64 = 1 << 20;
    let bytes = block_on(storage.length(id))?;
    refuse_if_whole(storage, id, bytes, reason)?;
    let align = u64::from(storage.limits().align.max(1));
    let mut offset = (HEADER_BYTES as u64).next_multiple_of(align);
    while offset < bytes {
        // Windows overlap by a frame header.
        let end = bytes.min(offset + WINDOW + frame::HEADER_BYTES as u64);
        let window = block_on(storage.read(id, offset..end))?;
        let step = usize::try_from(align).unwrap_or(1);
        for at in (0..window.len()).step_by(step) {
            let place = window.get(at..).unwrap_or_default();
            if frame::claims_segment(place, id) {
                return Err(Error::Lost {
                    lost: Lsn::ZERO..Lsn::MAX,
                    at: Position {
                        offset: offset + at as u64,
                        ..start_of(id, Lsn::ZERO)
                    },
                    reason: format!(
                        "{reason}, but frames stand in the segment; its LSNs are unknown"
                    ),
                });
            }
        }
        offset += WINDOW;
    }
    Ok(())
}

/// Where appends are stored whole or not at all, a header was whole once if any of it is there.
pub(crate) fn refuse_if_whole(
    storage: &Arc<dyn Storage>,
    id: SegmentId,
    bytes: u64,
    reason: &str,
) -> Result<()> {
    let whole = storage.limits().in_order && !planted("damaged-header-taken-for-none");
    match whole && bytes > 0 {
        true => Err(Error::Lost {
            lost: Lsn::ZERO..Lsn::MAX,
            at: start_of(id, Lsn::ZERO),
            reason: format!("{reason}, and what this storage shows was stored whole"),
        }),
        false => Ok(()),
    }
}
