//! What stands before a frame's table: its bytes, and what they say.

use bytes::BytesMut;

use super::{ENTRY_BYTES, HEADER_BYTES, MAGIC};
use crate::checksum::crc_more;
use crate::codec::Fields;
use crate::planted::planted;
use crate::{Lsn, SegmentId};

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

/// Whether these bytes look like a frame of this segment that was stored after the segment
/// had begun. No proof, only [`FrameHeader::decode`] is one; but that needs the segment's header.
pub(crate) fn claims_segment(bytes: &[u8], segment: SegmentId) -> bool {
    const FLAGS_AT: usize = 6;
    const SEGMENT_AT: usize = 64;
    let claimed = bytes.get(SEGMENT_AT..).and_then(|rest| Fields(rest).u64());
    let begins = bytes.get(FLAGS_AT).is_some_and(|flags| flags & BEGINS != 0);
    bytes.starts_with(&MAGIC) && claimed == Some(segment.get()) && !begins
}
