//! Random access: the record with an LSN, the place of a record, the LSN at a time.

use bytes::Bytes;

use crate::block::block_on;
use crate::frame::{Frame, FrameHeader, HEADER_BYTES};
use crate::location::Target;
use crate::map::Map;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::{Error, Location, Lsn, Position, Record, Result, SegmentId, Wal};

mod frame;
mod index;
mod receipt;
mod times;

pub(crate) use index::index_anew;

use frame::{Found, Listing};

impl Wal {
    /// Reads one durable record, verified, in at most two reads of the storage (the first time
    /// in a segment, its index is read as well).
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`] if it is not durable yet; [`Error::Lost`].
    pub fn get(&self, lsn: Lsn) -> Result<Record> {
        let found = self.find(lsn)?;
        let payload = match found.payload {
            Some(payload) if found.location.is_of(&payload) => payload,
            _ => self.read_at(&found.location)?,
        };
        Ok(Record { lsn, payload })
    }

    /// Where a durable record lies, for [`Wal::read_at`].
    ///
    /// # Errors
    /// As for [`Wal::get`].
    pub fn locate(&self, lsn: Lsn) -> Result<Location> {
        Ok(self.find(lsn)?.location)
    }

    /// Reads the record at a location, in one read, and verifies it by the checksum that the
    /// location carries (so a location of another log, or of records that were truncated
    /// since, finds nothing). A record of a compressed frame needs its whole frame.
    ///
    /// # Errors
    /// [`Error::Released`]; [`Error::Beyond`] if it is not durable yet; [`Error::Lost`] if that
    /// record is not there.
    pub fn read_at(&self, location: &Location) -> Result<Bytes> {
        let shared = &self.handle.shared;
        check_readable(shared, location.lsn)?;
        let payload = match location.target() {
            Target::Payload(offset) => {
                let range = offset..offset.saturating_add(u64::from(location.length));
                block_on(shared.storage.read(location.segment, range))?
            }
            Target::Frame(offset) => record_of_frame(shared, location, offset)?,
        };
        if location.is_of(&payload) {
            return Ok(payload);
        }
        check_readable(shared, location.lsn)?; // released while it was read
        Err(lost(
            location.segment,
            0,
            location.lsn,
            "the record is not where it was",
        ))
    }

    fn find(&self, lsn: Lsn) -> Result<Found> {
        let shared = &self.handle.shared;
        check_readable(shared, lsn)?;
        let segment = segment_of(shared, lsn)?;
        let listing = Listing::of(shared, &segment, lsn);
        let found = listing.and_then(|listing| listing.find(lsn));
        found.or_else(|error| {
            check_readable(shared, lsn)?; // released while it was read
            Err(error)
        })
    }
}

fn record_of_frame(shared: &Shared, location: &Location, offset: u64) -> Result<Bytes> {
    let failed = |reason| lost(location.segment, offset, location.lsn, reason);
    let info = info_of(shared, location.segment)?;
    let limit = shared.limit_of(location.segment)?;
    let seed = info.header.frame_seed();
    let read = |length: u64| {
        let end = offset.saturating_add(length).min(limit);
        block_on(shared.storage.read(location.segment, offset..end))
    };
    let header = FrameHeader::decode(&read(HEADER_BYTES as u64)?, seed, offset).map_err(failed)?;
    let bytes = header
        .bytes()
        .ok_or_else(|| failed("a frame is longer than its segment"))?;
    let frame = Frame::verify(header, &read(bytes)?).map_err(failed)?;
    let mut records = frame.into_records();
    let found = records.find(|(lsn, _)| *lsn == location.lsn);
    let (_, payload) = found.ok_or_else(|| failed("its frame does not hold it"))?;
    Ok(payload)
}

/// The segment that holds `lsn`.
fn segment_of(shared: &Shared, lsn: Lsn) -> Result<SegmentInfo> {
    let segment = shared.segment_of(lsn)?;
    segment.ok_or_else(|| released(shared, lsn))
}

fn info_of(shared: &Shared, id: SegmentId) -> Result<SegmentInfo> {
    let (info, _) = shared.segment_and_next(id)?;
    info.ok_or_else(|| released(shared, Lsn::ZERO))
}

fn check_readable(shared: &Shared, lsn: Lsn) -> Result<()> {
    let end = shared.durable();
    if lsn >= end {
        return Err(Error::Beyond { asked: lsn, end });
    }
    let oldest = shared.state.lock().retention.floor();
    if lsn < oldest {
        return Err(Error::Released { asked: lsn, oldest });
    }
    Ok(())
}

fn released(shared: &Shared, asked: Lsn) -> Error {
    let oldest = shared.state.lock().retention.floor();
    Error::Released { asked, oldest }
}

fn lost(segment: SegmentId, offset: u64, lsn: Lsn, reason: &str) -> Error {
    Error::Lost {
        lost: lsn..lsn.plus(1),
        at: Position {
            segment,
            offset,
            lsn,
        },
        reason: reason.into(),
    }
}
