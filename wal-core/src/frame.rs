//! The frame: appends committed together under one checksum.
//!
//! `docs/FORMAT.md` draws every byte: a fixed header, a table with the length
//! and checksum of each record, the payload, zeros up to the alignment. The
//! header's checksum is seeded with log, writer, segment and offset, so bytes
//! that lie there from an earlier use of the file never pass. It also covers
//! the table's checksum, so lengths are believed only after they are verified,
//! and no allocation is ever sized by a number that was not. A frame without
//! records may carry an attachment instead (see [`crate::attachment`]).

use bytes::{Bytes, BytesMut};

use crate::checksum::{RecordSums, chain, crc, crc_more};
use crate::codec::Fields;
use crate::planted::planted;
use crate::{Lsn, SegmentId};

mod builder;

pub(crate) use builder::{FrameBuilder, Note, SMALL_CHUNK};

/// Bytes of a frame header.
pub(crate) const HEADER_BYTES: usize = 80;
/// Bytes of a record's entry in the table.
pub(crate) const ENTRY_BYTES: usize = 8;
/// The first four bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"WALf";
/// Flag: the frame was stored together with its segment's header.
const BEGINS: u8 = 1;

/// What a frame is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Records.
    Records,
    /// No records: says how far the log is durable and what was released.
    Mark,
    /// A mark that ends a writer's term: the log was closed, all of it durable.
    Close,
    /// No records: the segment is continued by the next one, whose name is durable.
    Seal,
    /// No records: the named holds, all of them.
    Holds,
}

/// How the payload of a frame is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Codec {
    /// As it is.
    #[default]
    Plain,
    /// As one LZ4 block; its uncompressed length is the sum of the table's lengths.
    Lz4,
}

impl Codec {
    fn code(self) -> u8 {
        match self {
            Codec::Plain => 0,
            Codec::Lz4 => 1,
        }
    }

    fn from_code(code: u8) -> Option<Codec> {
        [Codec::Plain, Codec::Lz4]
            .into_iter()
            .find(|codec| codec.code() == code)
    }
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Records => 1,
            Kind::Mark => 2,
            Kind::Close => 3,
            Kind::Seal => 4,
            Kind::Holds => 5,
        }
    }

    fn from_code(code: u8) -> Option<Kind> {
        let all = [
            Kind::Records,
            Kind::Mark,
            Kind::Close,
            Kind::Seal,
            Kind::Holds,
        ];
        all.into_iter().find(|kind| kind.code() == code)
    }
}

/// What a frame header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FrameHeader {
    pub(crate) kind: Kind,
    pub(crate) codec: Codec,
    /// Stored by the append that began the segment.
    pub(crate) begins: bool,
    pub(crate) records: u32,
    pub(crate) table_crc: u32,
    pub(crate) payload_bytes: u64,
    pub(crate) first: Lsn,
    /// W as known when the frame was built.
    pub(crate) durable: Lsn,
    pub(crate) released: Lsn,
    /// The chain value before the first record.
    pub(crate) chain: u64,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    /// The segment that the frame was written to. The checksum implies it; it stands here
    /// for the one case in which the segment's header is damaged (see [`claims_segment`]).
    pub(crate) segment: SegmentId,
}

impl FrameHeader {
    pub(crate) fn encode(&self, seed: u32, offset: u64) -> [u8; HEADER_BYTES] {
        let mut out = BytesMut::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        let flags = u8::from(self.begins) * BEGINS;
        out.extend_from_slice(&[self.kind.code(), self.codec.code(), flags, 0]);
        out.extend_from_slice(&self.records.to_le_bytes());
        out.extend_from_slice(&self.table_crc.to_le_bytes());
        for field in [
            self.payload_bytes,
            self.first.get(),
            self.durable.get(),
            self.released.get(),
            self.chain,
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.segment.get().to_le_bytes());
        out.resize(HEADER_BYTES - 4, 0);
        let sum = header_crc(seed, offset, &out);
        out.extend_from_slice(&sum.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    /// The header at `offset` of a segment with this seed, or why there is none.
    pub(crate) fn decode(bytes: &[u8], seed: u32, offset: u64) -> Result<Self, &'static str> {
        const SHORT: &str = "the segment ends inside a frame header";
        let (covered, rest) = bytes.split_at_checked(HEADER_BYTES - 4).ok_or(SHORT)?;
        let mut fields = Fields(covered);
        if fields.bytes() != Some(MAGIC) {
            return Err("no frame here");
        }
        let sum = Some(header_crc(seed, offset, covered));
        if Fields(rest).u32() != sum && !planted("frame-header-checksum-not-compared") {
            return Err("frame header has a wrong checksum, or is of another segment");
        }
        let kind = fields.u8().and_then(Kind::from_code);
        let kind = kind.ok_or("frame of an unknown kind")?;
        let codec = fields.u8().and_then(Codec::from_code);
        let codec = codec.ok_or("frame is stored in an unknown way")?;
        let begins = match fields.bytes() {
            Some([0, 0]) => false,
            Some([BEGINS, 0]) => true,
            _ => return Err("frame header has an unknown flag"),
        };
        let header = Self::decode_fields(kind, &mut fields).ok_or(SHORT)?;
        Ok(FrameHeader {
            codec,
            begins,
            ..header
        })
    }

    fn decode_fields(kind: Kind, fields: &mut Fields<'_>) -> Option<Self> {
        Some(FrameHeader {
            kind,
            codec: Codec::Plain,
            begins: false,
            records: fields.u32()?,
            table_crc: fields.u32()?,
            payload_bytes: fields.u64()?,
            first: Lsn::new(fields.u64()?),
            durable: Lsn::new(fields.u64()?),
            released: Lsn::new(fields.u64()?),
            chain: fields.u64()?,
            time: fields.i64()?,
            segment: SegmentId::new(fields.u64()?),
        })
    }

    /// Bytes of header, table and payload; `None` if no segment can hold that many.
    pub(crate) fn bytes(&self) -> Option<u64> {
        (u64::from(self.records) * ENTRY_BYTES as u64 + HEADER_BYTES as u64)
            .checked_add(self.payload_bytes)
            .filter(|bytes| *bytes <= 1 << 40)
    }

    /// One past the last record.
    pub(crate) fn end(&self) -> Lsn {
        self.first.plus(u64::from(self.records))
    }
}

fn header_crc(seed: u32, offset: u64, covered: &[u8]) -> u32 {
    crc_more(crc_more(seed, &offset.to_le_bytes()), covered)
}

/// A whole frame that was read and verified.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    table: Bytes,
    payload: Bytes,
    /// The chain value after the last record.
    pub(crate) chain_after: u64,
}

impl Frame {
    /// Verifies the frame with this header; `bytes` holds exactly header, table and payload.
    pub(crate) fn verify(header: FrameHeader, bytes: &Bytes) -> Result<Frame, &'static str> {
        const SHORT: &str = "the segment ends inside a frame";
        let table_end = HEADER_BYTES + header.records as usize * ENTRY_BYTES;
        if header.bytes() != Some(bytes.len() as u64) || table_end > bytes.len() {
            return Err(SHORT);
        }
        let table = bytes.slice(HEADER_BYTES..table_end);
        let stored = bytes.slice(table_end..);
        if header.kind != Kind::Records {
            return Self::verify_attachment(header, table, stored);
        }
        if crc(&table) != header.table_crc {
            return Err("the table of records has a wrong checksum");
        }
        let payload = match header.codec {
            Codec::Plain => stored,
            Codec::Lz4 => decompress(&stored, &table)?,
        };
        let mut rest = payload.as_ref();
        let mut lsn = header.first;
        let mut chain_after = header.chain;
        let mut sums = RecordSums::new();
        for (length, sum) in entries(&table) {
            let (record, after) = rest
                .split_at_checked(length as usize)
                .ok_or("a record is longer than its frame")?;
            let intact = sums.of(lsn, record) == sum;
            if !intact && planted("torn-append-kept-in-part") && lsn > header.first {
                let records = u32::try_from(lsn.since(header.first)).unwrap_or(0);
                let table = table.slice(..records as usize * ENTRY_BYTES);
                let header = FrameHeader { records, ..header };
                return Ok(Frame {
                    header,
                    table,
                    payload,
                    chain_after,
                });
            }
            if !intact && !planted("record-checksum-not-compared") {
                return Err("a record has a wrong checksum");
            }
            chain_after = chain(chain_after, length, sum);
            lsn = lsn.plus(1);
            rest = after;
        }
        if !rest.is_empty() {
            return Err("a frame is longer than its records");
        }
        Ok(Frame {
            header,
            table,
            payload,
            chain_after,
        })
    }

    /// A frame without records: its checksum covers the attachment.
    fn verify_attachment(
        header: FrameHeader,
        table: Bytes,
        attachment: Bytes,
    ) -> Result<Frame, &'static str> {
        if header.records > 0 || header.codec != Codec::Plain {
            return Err("a frame of this kind has no records");
        }
        if crc(&attachment) != header.table_crc {
            return Err("what is attached to a frame has a wrong checksum");
        }
        Ok(Frame {
            header,
            table,
            payload: attachment,
            chain_after: header.chain,
        })
    }

    /// What is attached to a frame without records.
    pub(crate) fn attachment(&self) -> Option<&Bytes> {
        (self.header.kind != Kind::Records).then_some(&self.payload)
    }

    /// The records in order, without copying.
    pub(crate) fn into_records(self) -> Records {
        Records {
            next: self.header.first,
            frame: self,
            entry: 0,
            offset: 0,
        }
    }

    /// Lengths and checksums of the records, and their payload, for copying.
    pub(crate) fn parts(&self) -> (impl Iterator<Item = u32> + '_, Bytes) {
        (
            entries(&self.table).map(|(length, _)| length),
            self.payload.clone(),
        )
    }
}

/// The payload that was stored as an LZ4 block. The lengths have been verified; what they ask
/// for is bounded all the same, by what a block can hold at most.
pub(crate) fn decompress(stored: &[u8], table: &[u8]) -> Result<Bytes, &'static str> {
    const MOST_PER_BYTE: u64 = 255;
    let bytes = total_length(table);
    let most = stored.len() as u64 * MOST_PER_BYTE;
    let bytes = usize::try_from(bytes)
        .ok()
        .filter(|_| bytes <= most || planted("length-of-a-compressed-frame-believed"))
        .ok_or("a compressed frame claims more than it can hold")?;
    let payload = lz4_flex::block::decompress(stored, bytes);
    let payload = payload.map_err(|_| "a compressed frame cannot be read")?;
    Ok(payload.into())
}

/// Length and checksum of each record.
pub(crate) fn entries(table: &[u8]) -> impl ExactSizeIterator<Item = (u32, u32)> + '_ {
    let (entries, _) = table.as_chunks::<ENTRY_BYTES>();
    entries.iter().map(|&[a, b, c, d, e, f, g, h]| {
        let (length, sum) = ([a, b, c, d], [e, f, g, h]);
        (u32::from_le_bytes(length), u32::from_le_bytes(sum))
    })
}

/// Bytes of these records together. Written so that the compiler adds several at a time: a
/// lookup asks it of all records before the one it looks for.
pub(crate) fn total_length(table: &[u8]) -> u64 {
    let (entries, _) = table.as_chunks::<ENTRY_BYTES>();
    let lengths = entries
        .iter()
        .map(|entry| u64::from_le_bytes(*entry) & u64::from(u32::MAX));
    lengths.sum()
}

/// The records of one frame, in order.
#[derive(Debug)]
pub(crate) struct Records {
    frame: Frame,
    next: Lsn,
    entry: usize,
    offset: usize,
}

impl Iterator for Records {
    type Item = (Lsn, Bytes);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.frame.table.get(self.entry..self.entry + ENTRY_BYTES)?;
        let end = self.offset + Fields(entry).u32()? as usize;
        // `verify` has proved that all lengths together are the payload's.
        let payload = (end <= self.frame.payload.len())
            .then(|| self.frame.payload.slice(self.offset..end))?;
        let lsn = self.next;
        self.entry += ENTRY_BYTES;
        self.offset = end;
        self.next = lsn.plus(1);
        Some((lsn, payload))
    }
}

/// Whether these bytes look like a frame of this segment that was stored after the segment
/// had begun. No proof, only [`FrameHeader::decode`] is one; but that needs the segment's header.
pub(crate) fn claims_segment(bytes: &[u8], segment: SegmentId) -> bool {
    const FLAGS_AT: usize = 6;
    const SEGMENT_AT: usize = 64;
    let claimed = bytes.get(SEGMENT_AT..).and_then(|rest| Fields(rest).u64());
    let begins = bytes.get(FLAGS_AT).is_some_and(|flags| flags & BEGINS != 0);
    bytes.starts_with(&MAGIC) && claimed == Some(segment.get()) && !begins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn built(records: &[Vec<u8>], first: Lsn, chain: u64, seed: u32, offset: u64) -> Bytes {
        let mut frame = FrameBuilder::new(first, chain, records.len());
        let chunks = records.iter().filter(|record| !record.is_empty());
        let chunks: Vec<Bytes> = chunks
            .map(|record| Bytes::copy_from_slice(record))
            .collect();
        frame.push(
            chunks,
            records
                .iter()
                .map(|record| u32::try_from(record.len()).unwrap()),
        );
        let note = Note {
            kind: Kind::Records,
            durable: first,
            released: Lsn::ZERO,
            time: 5,
            segment: SegmentId::new(1),
            begins: false,
        };
        frame.finish(note, seed, offset).concat().into()
    }

    fn read(bytes: &Bytes, seed: u32, offset: u64) -> Result<Frame, &'static str> {
        let header = FrameHeader::decode(bytes, seed, offset)?;
        Frame::verify(header, bytes)
    }

    proptest! {
        /// G2: what is written is read, whatever the sizes.
        #[test]
        fn what_is_written_is_read(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            first in 0..u64::MAX / 2,
            chain in any::<u64>(),
        ) {
            let bytes = built(&records, Lsn::new(first), chain, 9, 4096);
            let frame = read(&bytes, 9, 4096).unwrap();
            let (end, count) = (frame.header.end(), records.len() as u64);
            let found: Vec<_> = frame.into_records().collect();
            prop_assert_eq!(end, Lsn::new(first + count));
            for (index, (lsn, payload)) in found.iter().enumerate() {
                prop_assert_eq!(*lsn, Lsn::new(first + index as u64));
                prop_assert_eq!(payload, &records[index]);
            }
            prop_assert_eq!(found.len(), records.len());
        }

        /// G4: no single damaged byte passes, and nothing passes at another place.
        #[test]
        fn what_was_changed_or_moved_is_refused(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..5),
            place in any::<prop::sample::Index>(),
            flip in 1..=255u8,
        ) {
            let bytes = built(&records, Lsn::new(3), 7, 9, 4096);
            let mut damaged = bytes.to_vec();
            damaged[place.index(bytes.len())] ^= flip;
            prop_assert!(read(&damaged.into(), 9, 4096).is_err());
            prop_assert!(read(&bytes, 9, 8192).is_err());
            prop_assert!(read(&bytes, 8, 4096).is_err());
        }

        /// G9: hostile bytes are refused; no panic, no allocation sized by them.
        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes.into(), 9, 4096).is_err());
        }

        /// G9: also when the header's checksum is right and its numbers are not.
        #[test]
        fn a_forged_header_is_refused(
            records in any::<u32>(),
            payload_bytes in any::<u64>(),
            rest in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let header = FrameHeader {
                kind: Kind::Records,
                codec: Codec::Plain,
                begins: false,
                records,
                table_crc: crc(&rest),
                payload_bytes,
                first: Lsn::new(1),
                durable: Lsn::ZERO,
                released: Lsn::ZERO,
                chain: 0,
                time: 0,
                segment: SegmentId::new(1),
            };
            let mut bytes = header.encode(9, 4096).to_vec();
            bytes.extend_from_slice(&rest);
            let result = read(&bytes.into(), 9, 4096);
            prop_assert!(result.is_err() || (records == 0 && payload_bytes == 0));
        }
    }
}
