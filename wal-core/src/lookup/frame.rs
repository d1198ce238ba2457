//! The frame that holds an LSN, and where in it the record lies.

use std::sync::Arc;

use bytes::Bytes;

use super::index::index_of;
use super::lost;
use crate::block::block_on;
use crate::checksum::crc;
use crate::frame::{self, Codec, ENTRY_BYTES, FrameHeader, HEADER_BYTES, Kind};
use crate::location::Target;
use crate::map::Map;
use crate::scan::Walker;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::{Location, Lsn, Result, SegmentId};

/// A frame that is not much longer than this is read whole.
const ONE_READ: u64 = 16 << 10;

/// Header and table of a frame, verified: it lists the records.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) segment: SegmentId,
    pub(super) offset: u64,
    pub(super) header: FrameHeader,
    /// From the frame's start to the end of its table at least.
    bytes: Bytes,
    table_end: usize,
}

/// A record that was looked up by LSN.
pub(super) struct Found {
    pub(super) location: Location,
    /// Its bytes, if they were read on the way; not verified yet.
    pub(super) payload: Option<Bytes>,
}

impl Listing {
    /// Reads the listing of the frame that holds `lsn`, in one read where the index tells its
    /// length.
    pub(super) fn of(shared: &Shared, segment: &SegmentInfo, lsn: Lsn) -> Result<Listing> {
        let place = Place::of(shared, segment, lsn)?;
        let id = segment.header.segment;
        let failed = |reason| lost(id, place.offset, place.first, reason);
        let mut length = place.first_read();
        loop {
            let range = place.offset..place.offset.saturating_add(length);
            let bytes = block_on(shared.storage.read(id, range))?;
            let header = FrameHeader::decode(&bytes, segment.header.frame_seed(), place.offset);
            let header = header.map_err(failed)?;
            let table_end = HEADER_BYTES + header.records as usize * ENTRY_BYTES;
            let wanted = table_end as u64;
            match bytes.get(HEADER_BYTES..table_end) {
                Some(table) if crc(table) == header.table_crc => {
                    return Ok(Listing {
                        segment: id,
                        offset: place.offset,
                        header,
                        bytes,
                        table_end,
                    });
                }
                Some(_) => return Err(failed("the table of records has a wrong checksum")),
                None if wanted <= place.span && wanted > length => length = wanted,
                None => return Err(failed("the segment ends inside a frame")),
            }
        }
    }

    /// Length and checksum of each record.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
        frame::entries(self.table())
    }

    fn table(&self) -> &[u8] {
        self.bytes
            .get(HEADER_BYTES..self.table_end)
            .unwrap_or_default()
    }

    /// Where the record with this LSN lies.
    pub(super) fn find(&self, lsn: Lsn) -> Result<Found> {
        let index = usize::try_from(lsn.since(self.header.first)).unwrap_or(usize::MAX);
        let split = self
            .table()
            .split_at_checked(index.saturating_mul(ENTRY_BYTES));
        let found = split.and_then(|(before, rest)| Some((before, frame::entries(rest).next()?)));
        let (before, entry) = found
            .ok_or_else(|| lost(self.segment, self.offset, lsn, "its frame ends before it"))?;
        let start = self.table_end as u64 + frame::total_length(before);
        let target = match self.header.codec {
            Codec::Plain => Target::Payload(self.offset.saturating_add(start)),
            Codec::Lz4 => Target::Frame(self.offset),
        };
        let range = usize::try_from(start).unwrap_or(usize::MAX);
        let range = range..range.saturating_add(entry.0 as usize);
        let payload = (self.header.codec == Codec::Plain && range.end <= self.bytes.len())
            .then(|| self.bytes.slice(range));
        Ok(Found {
            location: Location::new(self.segment, lsn, target, entry),
            payload,
        })
    }
}

/// Where a frame stands, as the index of its segment says.
struct Place {
    offset: u64,
    first: Lsn,
    /// It has no more bytes than these.
    span: u64,
    /// And so many records, if that is known.
    records: Option<u64>,
}

impl Place {
    /// Of the frame that holds `lsn`.
    fn of(shared: &Shared, segment: &SegmentInfo, lsn: Lsn) -> Result<Place> {
        let id = segment.header.segment;
        let limit = shared.limit_of(id)?;
        let index = index_of(shared, segment, limit)?;
        let (found, next, dense) = {
            let index = index.lock();
            let found = index.floor(lsn);
            let (entry, next) = found.ok_or_else(|| lost(id, 0, lsn, "no frame holds it"))?;
            (entry, next, index.is_dense())
        };
        let end = next.map_or(limit, |next| next.offset);
        if dense {
            return Ok(Place {
                offset: found.offset,
                first: found.lsn,
                span: end.saturating_sub(found.offset),
                records: next.map(|next| next.lsn.since(found.lsn)),
            });
        }
        let walker = Walker::new(Arc::clone(&shared.storage), segment.header, end);
        Self::after(walker.at(found.offset, found.lsn, 0), lsn)?
            .ok_or_else(|| lost(id, found.offset, lsn, "no frame holds it"))
    }

    /// Where every so many frames have an entry, the headers in between tell.
    fn after(mut walker: Walker, lsn: Lsn) -> Result<Option<Place>> {
        while let Some((offset, header)) = walker.next_header()? {
            if header.kind == Kind::Records && header.end() > lsn {
                return Ok(Some(Place {
                    offset,
                    first: header.first,
                    span: header.bytes().unwrap_or(0),
                    records: Some(u64::from(header.records)),
                }));
            }
        }
        Ok(None)
    }

    /// Bytes to read at first: a short frame whole, of a long one no more than the table.
    fn first_read(&self) -> u64 {
        let table = self
            .records
            .map(|records| records.saturating_mul(ENTRY_BYTES as u64));
        match table {
            Some(table) if self.span > ONE_READ => {
                self.span.min(table.saturating_add(HEADER_BYTES as u64))
            }
            _ => self.span.min(ONE_READ),
        }
    }
}
