//! Random access: the record with an LSN, the place of a record, the LSN at a time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::block::block_on;
use crate::checksum::{chain, crc, record_crc};
use crate::footer;
use crate::frame::{self, Codec, ENTRY_BYTES, Frame, FrameHeader, HEADER_BYTES, Kind};
use crate::index::{Entry, Index};
use crate::location::Target;
use crate::map::Map;
use crate::scan::Walker;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::{Error, Location, Lsn, Position, Receipt, Record, Result, SegmentId, Wal};

/// A frame that is not much longer than this is read whole.
const ONE_READ: u64 = 16 << 10;

impl Wal {
    /// Reads one durable record, verified, in at most two reads of the storage (the first time
    /// in a segment, its index is read as well).
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`] if it is not durable yet; [`Error::Lost`].
    pub fn get(&self, lsn: Lsn) -> Result<Record> {
        let found = self.find(lsn)?;
        let payload = match found.payload {
            Some(payload) => payload,
            None => self.read_at(&found.location)?,
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
        let right = payload.len() as u64 == u64::from(location.length)
            && record_crc(location.lsn, &payload) == location.crc;
        if right {
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

    /// The first LSN that was written at or after `time`; the end of what is durable if none was.
    /// Within the log times never go back: if the clock does, the log's stays where it was.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::Storage`].
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

    /// Whether the log still holds everything that a receipt proves: then `Ok(true)`.
    /// `Ok(false)` if the records at its LSN were released, so that nothing can be said.
    ///
    /// # Errors
    /// [`Error::Lost`] if it is of another log or of another history of this log, or reaches
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
        let (segment, offset, header, table) = self.frame_of(last)?;
        let records = usize::try_from(receipt.lsn.since(header.first)).unwrap_or(usize::MAX);
        let entries = frame::entries(&table).take(records);
        let found = entries.fold(header.chain, |sum, (length, crc)| chain(sum, length, crc));
        if found == receipt.chain {
            return Ok(true);
        }
        Err(lost(
            segment.header.segment,
            offset,
            last,
            "the receipt is of another history: the log was truncated or restored since, and \
             other records took these LSNs",
        ))
    }

    /// The frame that holds `lsn`: its segment, offset, header and verified table.
    fn frame_of(&self, lsn: Lsn) -> Result<(SegmentInfo, u64, FrameHeader, Bytes)> {
        let shared = &self.handle.shared;
        check_readable(shared, lsn)?;
        let segment = shared.segment_of(lsn)?;
        let segment = segment.ok_or_else(|| released(shared, lsn))?;
        let (entry, span, _) = entry_of(shared, &segment, lsn)?;
        let (header, bytes) = read_table(shared, &segment, entry, span, None)?;
        let end = HEADER_BYTES + header.records as usize * ENTRY_BYTES;
        Ok((
            segment,
            entry.offset,
            header,
            bytes.slice(HEADER_BYTES..end),
        ))
    }

    fn find(&self, lsn: Lsn) -> Result<Found> {
        let shared = &self.handle.shared;
        check_readable(shared, lsn)?;
        let segment = shared.segment_of(lsn)?;
        let segment = segment.ok_or_else(|| released(shared, lsn))?;
        find_in(shared, &segment, lsn).or_else(|error| {
            check_readable(shared, lsn)?; // released while it was read
            Err(error)
        })
    }
}

/// A record that was looked up by LSN.
struct Found {
    location: Location,
    /// Its bytes, if they were read on the way.
    payload: Option<Bytes>,
}

fn find_in(shared: &Shared, segment: &SegmentInfo, lsn: Lsn) -> Result<Found> {
    let (entry, span, records) = entry_of(shared, segment, lsn)?;
    let (header, bytes) = read_table(shared, segment, entry, span, records)?;
    let id = segment.header.segment;
    let table_end = HEADER_BYTES + header.records as usize * ENTRY_BYTES;
    let table = bytes.slice(HEADER_BYTES..table_end);
    let index = usize::try_from(lsn.since(header.first)).unwrap_or(usize::MAX);
    let before: u64 = frame::entries(&table)
        .take(index)
        .map(|(length, _)| u64::from(length))
        .sum();
    let found = frame::entries(&table).nth(index);
    let found = found.ok_or_else(|| lost(id, entry.offset, lsn, "its frame ends before it"))?;
    let start = table_end as u64 + before;
    let target = match header.codec {
        Codec::Plain => Target::Payload(entry.offset.saturating_add(start)),
        Codec::Lz4 => Target::Frame(entry.offset),
    };
    let location = Location::new(id, lsn, target, found);
    let range = usize::try_from(start).unwrap_or(usize::MAX);
    let range = range..range.saturating_add(found.0 as usize);
    let payload = (header.codec == Codec::Plain && range.end <= bytes.len())
        .then(|| bytes.slice(range))
        .filter(|payload| record_crc(lsn, payload) == found.1);
    Ok(Found { location, payload })
}

/// The index entry of the frame that holds `lsn`; how many bytes that frame has at most, and
/// how many records, if that is known.
fn entry_of(shared: &Shared, segment: &SegmentInfo, lsn: Lsn) -> Result<(Entry, u64, Option<u64>)> {
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
    let span = end.saturating_sub(found.offset);
    if dense {
        let records = next.map(|next| next.lsn.since(found.lsn));
        return Ok((found, span, records));
    }
    // Every so many frames have an entry: the headers in between tell.
    let mut walker = Walker::new(Arc::clone(&shared.storage), segment.header, end).at(
        found.offset,
        found.lsn,
        0,
    );
    while let Some((offset, header)) = walker.next_header()? {
        if header.kind == Kind::Records && header.end() > lsn {
            let entry = Entry {
                lsn: header.first,
                offset,
                time: header.time,
            };
            let span = header.bytes().unwrap_or(0);
            return Ok((entry, span, Some(u64::from(header.records))));
        }
    }
    Err(lost(id, found.offset, lsn, "no frame holds it"))
}

/// Header and verified table of a frame, and what was read behind them.
fn read_table(
    shared: &Shared,
    segment: &SegmentInfo,
    entry: Entry,
    span: u64,
    records: Option<u64>,
) -> Result<(FrameHeader, Bytes)> {
    let id = segment.header.segment;
    let failed = |reason| lost(id, entry.offset, entry.lsn, reason);
    let table = records.map(|records| records.saturating_mul(ENTRY_BYTES as u64));
    let mut length = match table {
        Some(table) if span > ONE_READ => span.min(table.saturating_add(HEADER_BYTES as u64)),
        _ => span.min(ONE_READ),
    };
    loop {
        let range = entry.offset..entry.offset.saturating_add(length);
        let bytes = block_on(shared.storage.read(id, range))?;
        let header = FrameHeader::decode(&bytes, segment.header.frame_seed(), entry.offset);
        let header = header.map_err(failed)?;
        let wanted = HEADER_BYTES as u64 + u64::from(header.records) * ENTRY_BYTES as u64;
        let table = usize::try_from(wanted)
            .ok()
            .and_then(|end| bytes.get(HEADER_BYTES..end));
        match table {
            Some(table) if crc(table) == header.table_crc => return Ok((header, bytes)),
            Some(_) => return Err(failed("the table of records has a wrong checksum")),
            None if wanted <= span && wanted > length => length = wanted,
            None => return Err(failed("the segment ends inside a frame")),
        }
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

/// The index of a segment: kept since it was written, or read from its footer, or made anew
/// where there is none.
fn index_of(shared: &Shared, segment: &SegmentInfo, limit: u64) -> Result<Arc<Mutex<Index>>> {
    let id = segment.header.segment;
    let kept = {
        let state = shared.state.lock();
        state.segments.get(id).and_then(|known| known.index.clone())
    };
    if let Some(index) = kept {
        return Ok(index);
    }
    let storage = &shared.storage;
    let footer = match footer::ending_at(storage, &segment.header, limit)? {
        Some(footer) => Some(footer),
        None => {
            let end = block_on(storage.length(id))?;
            footer::starting_at(storage, &segment.header, limit, end)?
        }
    };
    let index = match footer.and_then(|footer| footer.attachment.index) {
        Some(index) => index,
        None => index_anew(shared, segment, limit, Lsn::MAX)?.1,
    };
    let index = Arc::new(Mutex::new(index));
    shared.state.lock().segments.remember(id, &index);
    Ok(index)
}

/// Where the last frame ends that ends at or below `until`, and the index of the frames up to it.
pub(crate) fn index_anew(
    shared: &Shared,
    segment: &SegmentInfo,
    limit: u64,
    until: Lsn,
) -> Result<(u64, Index)> {
    let mut walker = Walker::new(Arc::clone(&shared.storage), segment.header, limit);
    let mut index = Index::default();
    let mut end = walker.position().offset;
    while let Some((offset, header)) = walker.next_header()? {
        if header.end() > until {
            break;
        }
        end = walker.position().offset;
        if header.kind == Kind::Records {
            let entry = Entry {
                lsn: header.first,
                offset,
                time: header.time,
            };
            index.push(entry, header.bytes().unwrap_or(0));
        }
    }
    Ok((end, index))
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

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
