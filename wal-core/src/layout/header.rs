//! What the start of one segment says: its header, and whether the copy it begins with is whole.

use std::sync::Arc;

use crate::block::block_on;
use crate::scan::{Found, Walker};
use crate::segment::{HEADER_BYTES, NotAHeader, SegmentHeader, VERSION};
use crate::segments::{Known, SegmentInfo};
use crate::{Error, Identity, Lsn, Position, Result, SegmentId, Storage};

pub(super) type Header = std::result::Result<SegmentHeader, &'static str>;

pub(super) fn read_header(storage: &Arc<dyn Storage>, id: SegmentId) -> Result<Header> {
    let bytes = block_on(storage.read(id, 0..HEADER_BYTES as u64))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.segment != id => Ok(Err("the segment header is of another segment")),
        Ok(header) => Ok(Ok(header)),
        Err(NotAHeader::Invalid(reason)) => Ok(Err(reason)),
        Err(NotAHeader::Newer(found)) => Err(Error::NewerFormat {
            at: start_of(id, Lsn::ZERO),
            found,
            known: VERSION,
        }),
    }
}

/// The header of a segment that certainly is part of the log.
pub(crate) fn load(
    storage: &Arc<dyn Storage>,
    known: &Known,
    log: Identity,
) -> Result<SegmentInfo> {
    let lost = |reason: &str| Error::Lost {
        lost: known.first..known.first.plus(1),
        at: start_of(known.id, known.first),
        reason: reason.into(),
    };
    let header = read_header(storage, known.id)?.map_err(lost)?;
    if header.log != log {
        return Err(lost("the segment belongs to another log"));
    }
    if header.first != known.first {
        return Err(lost(
            "the segment's name and its header tell different LSNs",
        ));
    }
    let end = block_on(storage.length(known.id))?;
    Ok(SegmentInfo { header, end })
}

pub(super) fn start_of(segment: SegmentId, lsn: Lsn) -> Position {
    Position {
        segment,
        offset: 0,
        lsn,
    }
}

/// Whether recovery's copy, if the segment begins with one, was finished. It was, too, if a
/// later frame says so: then what is missing of it was damaged since (G4).
pub(crate) fn is_complete(
    storage: &Arc<dyn Storage>,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<bool> {
    let mut walker = Walker::new(Arc::clone(storage), *header, bytes);
    // The holds that are in force stand in the first append: without them it was cut short, too.
    let mut bare = true;
    while bare || walker.position().lsn < header.copied_until {
        if let Found::Nothing(_) = walker.next()? {
            if storage.limits().in_order && walker.left() > 0 {
                return Ok(true); // nothing is ever torn there: it is damage, and the walk says so
            }
            let attested = walker.probe_beyond()?.durable;
            return Ok(attested >= header.copied_until && (!bare || attested > header.first));
        }
        bare = false;
    }
    Ok(true)
}
