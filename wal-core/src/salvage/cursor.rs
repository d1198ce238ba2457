//! Walking one segment that may be damaged: every intact record, and what is not.
//!
//! A frame counts here if its header verifies for its place; after damage the walk goes on
//! at the next place where one does. Within a frame whose table verifies, each record is
//! verified alone.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::places::Place;
use super::window::Window;
use crate::checksum::{chain, crc, record_crc};
use crate::codec::Fields;
use crate::frame::{self, Codec, ENTRY_BYTES, Frame, FrameHeader, HEADER_BYTES, Kind};
use crate::{Lsn, Position, Storage};

/// What was met.
#[derive(Debug)]
pub(super) enum Met {
    Record(Intact),
    Damage(Damage),
    End,
}

/// An intact record.
#[derive(Debug)]
pub(super) struct Intact {
    pub(super) lsn: Lsn,
    pub(super) payload: Bytes,
    pub(super) at: Position,
    pub(super) chain_before: u64,
    pub(super) chain_after: u64,
}

/// Something that should have been there and is not.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) at: Position,
    pub(super) bytes: u64,
    pub(super) reason: String,
    /// The records affected, where a frame header tells.
    pub(super) lost: Option<Range<Lsn>>,
}

/// What the frames of a segment say besides their records.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Attested {
    pub(super) durable: Lsn,
    pub(super) released: Lsn,
    pub(super) frames: u64,
    /// The last frame was a seal.
    pub(super) sealed: bool,
}

/// Walks one segment.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) place: Place,
    window: Window,
    offset: u64,
    /// The LSN after the last record met.
    next: Lsn,
    /// Records below were durable: a frame from here on that is torn is given up whole (G3).
    durable: Lsn,
    frame: Option<OpenFrame>,
    /// Where no frame was found, and why.
    hole: Option<(Position, String)>,
    begun: bool,
    /// A record that was met and is to be met again.
    pub(super) again: Option<Intact>,
    pub(super) attested: Attested,
}

/// A frame whose table is verified.
#[derive(Debug)]
struct OpenFrame {
    at: Position,
    table: Bytes,
    payload: Bytes,
    entry: usize,
    offset: usize,
    chain: u64,
}

impl Cursor {
    pub(super) fn new(storage: &Arc<dyn Storage>, place: Place, durable: Lsn) -> Self {
        Cursor {
            window: Window::new(storage, place.id),
            offset: place.start(),
            next: place.first,
            durable,
            frame: None,
            hole: None,
            begun: false,
            again: None,
            attested: Attested::default(),
            place,
        }
    }

    pub(super) fn next(&mut self) -> Met {
        if let Some(record) = self.again.take() {
            return Met::Record(record);
        }
        if !std::mem::replace(&mut self.begun, true)
            && let Some(reason) = self.place.fault.clone()
        {
            let whole = self.place.seed.is_none();
            let bytes = if whole {
                self.place.bytes
            } else {
                self.place.start()
            };
            let at = self.position_at(0);
            return Met::Damage(Damage::new(at, bytes, reason, None));
        }
        loop {
            if let Some(met) = self.frame.as_mut().and_then(OpenFrame::next) {
                if let Met::Record(record) = &met {
                    self.next = record.lsn.plus(1);
                }
                return met;
            }
            self.frame = None;
            let Some(seed) = self.place.seed.filter(|_| self.offset < self.place.limit) else {
                return self.end();
            };
            if let Some(met) = self.step(seed) {
                return met;
            }
        }
    }

    fn position_at(&self, offset: u64) -> Position {
        Position {
            segment: self.place.id,
            offset,
            lsn: self.next,
        }
    }

    /// Looks at the cursor's place; what was met, or `None` to go on.
    fn step(&mut self, seed: u32) -> Option<Met> {
        let limit = self.place.limit;
        let header = match self.window.get(self.offset, HEADER_BYTES as u64, limit) {
            Ok(head) => FrameHeader::decode(&head, seed, self.offset).map_err(str::to_owned),
            Err(error) => Err(error.to_string()),
        };
        let counts = |header: &FrameHeader| header.first < self.place.until || header.records == 0;
        let (header, bytes) = match header {
            Ok(header) => match header.bytes() {
                Some(bytes) if !counts(&header) => {
                    // It was replaced; the seal behind it counts.
                    let bytes = bytes.next_multiple_of(self.place.align);
                    self.offset = self.offset.saturating_add(bytes);
                    return None;
                }
                Some(bytes) => (header, bytes),
                None => return self.skip("a frame header has impossible lengths"),
            },
            Err(reason) => return self.skip(&reason),
        };
        if let Some(met) = self.close_hole(self.offset) {
            return Some(met); // and meet the frame next time
        }
        self.attested.note(&header);
        let at = Position {
            lsn: header.first,
            ..self.position_at(self.offset)
        };
        let stored = self.window.get(self.offset, bytes, limit);
        self.offset = self
            .offset
            .saturating_add(bytes.next_multiple_of(self.place.align));
        self.next = header.end();
        match stored.map_err(|error| error.to_string()) {
            Ok(stored) => self.open(&header, at, &stored).err(),
            Err(reason) => Some(reason),
        }
        .map(|reason| {
            Met::Damage(Damage::new(
                at,
                bytes,
                reason,
                Some(header.first..header.end()),
            ))
        })
    }

    /// Opens a frame whose header is verified.
    fn open(&mut self, header: &FrameHeader, at: Position, stored: &Bytes) -> Result<(), String> {
        if header.kind != Kind::Records {
            Frame::verify(*header, stored)?;
            return Ok(());
        }
        let table_end = (header.records as usize)
            .saturating_mul(ENTRY_BYTES)
            .saturating_add(HEADER_BYTES);
        if table_end > stored.len() {
            return Err("the segment ends inside a frame".into());
        }
        let table = stored.slice(HEADER_BYTES..table_end);
        if crc(&table) != header.table_crc {
            return Err("the table of records has a wrong checksum".into());
        }
        let payload = stored.slice(table_end..);
        let cut_short = payload.len() as u64 != header.payload_bytes;
        let payload = match header.codec {
            Codec::Plain => payload,
            Codec::Lz4 => frame::decompress(&payload, &table)?,
        };
        let frame = OpenFrame {
            at,
            table,
            payload,
            entry: 0,
            offset: 0,
            chain: header.chain,
        };
        // What may never have been acknowledged is kept whole or not at all.
        if header.end() > self.durable && (cut_short || !frame.is_whole()) {
            return Err("the frame was not completely stored".into());
        }
        self.frame = Some(frame);
        Ok(())
    }

    /// There is no frame here: a hole, up to the next place that begins like one.
    fn skip(&mut self, reason: &str) -> Option<Met> {
        if self.hole.is_none() {
            self.hole = Some((self.position_at(self.offset), reason.to_owned()));
        }
        let next = self.offset.saturating_add(self.place.align);
        self.offset = self.window.find(next, self.place.align, self.place.limit);
        None
    }

    /// The hole before `end`, if there was one.
    fn close_hole(&mut self, end: u64) -> Option<Met> {
        let (at, reason) = self.hole.take()?;
        let bytes = end.saturating_sub(at.offset);
        Some(Met::Damage(Damage::new(at, bytes, reason, None)))
    }

    /// What lies behind the last frame has no meaning, unless frames must have stood there.
    fn end(&mut self) -> Met {
        let sure = std::mem::take(&mut self.place.sure);
        let hole = self.hole.take();
        let from = hole.as_ref().map_or(self.offset, |(at, _)| at.offset);
        if self.place.seed.is_none() || from >= sure {
            return Met::End;
        }
        let reason = hole.map_or_else(
            || "the segment is shorter than its successor says".into(),
            |(_, reason)| reason,
        );
        let at = self.position_at(from);
        Met::Damage(Damage::new(at, sure - from, reason, None))
    }
}

impl OpenFrame {
    fn next(&mut self) -> Option<Met> {
        let entry = self
            .table
            .get(self.entry..self.entry.checked_add(ENTRY_BYTES)?)?;
        let mut fields = Fields(entry);
        let (length, sum) = (fields.u32()?, fields.u32()?);
        let lsn = self.at.lsn.plus((self.entry / ENTRY_BYTES) as u64);
        let end = self.offset.saturating_add(length as usize);
        let stored = (end <= self.payload.len()).then(|| self.payload.slice(self.offset..end));
        let chain_before = self.chain;
        self.chain = chain(self.chain, length, sum);
        self.entry += ENTRY_BYTES;
        self.offset = end;
        let at = Position { lsn, ..self.at };
        Some(match stored {
            Some(payload) if record_crc(lsn, &payload) == sum => Met::Record(Intact {
                lsn,
                payload,
                at,
                chain_before,
                chain_after: self.chain,
            }),
            stored => {
                let reason = match stored {
                    Some(_) => "a record has a wrong checksum",
                    None => "the segment ends inside a frame",
                };
                let lost = lsn..lsn.plus(1);
                Met::Damage(Damage::new(at, length.into(), reason.into(), Some(lost)))
            }
        })
    }

    fn is_whole(&self) -> bool {
        let mut copy = OpenFrame {
            at: self.at,
            table: self.table.clone(),
            payload: self.payload.clone(),
            ..*self
        };
        std::iter::from_fn(|| copy.next()).all(|met| matches!(met, Met::Record(_)))
    }
}

impl Damage {
    pub(super) fn new(at: Position, bytes: u64, reason: String, lost: Option<Range<Lsn>>) -> Self {
        Damage {
            at,
            bytes,
            reason,
            lost,
        }
    }
}

impl Attested {
    fn note(&mut self, header: &FrameHeader) {
        self.durable = self.durable.max(header.durable);
        self.released = self.released.max(header.released);
        self.sealed = header.kind == Kind::Seal;
        self.frames += 1;
    }
}

/// What the frames of a segment attest, damaged ones apart.
pub(super) fn survey(storage: &Arc<dyn Storage>, place: &Place) -> Attested {
    let mut window = Window::new(storage, place.id);
    let mut attested = Attested::default();
    let mut offset = place.start();
    while let Some(seed) = place.seed.filter(|_| offset < place.bytes) {
        let head = window.get(offset, HEADER_BYTES as u64, place.bytes);
        let header = head
            .ok()
            .and_then(|head| FrameHeader::decode(&head, seed, offset).ok());
        match header.and_then(|header| Some((header, header.bytes()?))) {
            Some((header, bytes)) => {
                attested.note(&header);
                offset = offset.saturating_add(bytes.next_multiple_of(place.align));
            }
            None => {
                offset = window.find(offset.saturating_add(place.align), place.align, place.bytes)
            }
        }
    }
    attested
}
