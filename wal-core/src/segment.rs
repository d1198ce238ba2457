//! The segment header: who wrote the segment, and what it continues.
//!
//! `docs/FORMAT.md` draws every byte. The header is stored together with the
//! first frame of its segment, in one append. It attests where the segment
//! before ended, how far the log was durable, and what was released: so a
//! segment that is missing or was cut short is seen from its successor (G4).

use crate::checksum::{crc, crc_more};
use crate::codec::Fields;
use crate::planted::{planted, planted_or};
use crate::{Epoch, Identity, Lsn, SegmentId};

/// Bytes of a segment header, before padding to the alignment.
pub(crate) const HEADER_BYTES: usize = 160;
/// The format version this code writes, and the newest it reads.
///
/// Version 2 added attachments, compression, named holds and truncation.
pub(crate) const VERSION: u16 = 2;
/// Flag: the segment does not continue all of its predecessors; what lay at or above
/// *copied until* was given up.
const TRUNCATES: u16 = 1;
/// The first eight bytes of every segment. The high bit and the line end show
/// a transfer that was not binary, as PNG's signature does.
pub(crate) const MAGIC: [u8; 8] = *b"\x89WALseg\n";

/// The largest alignment a segment may have.
pub(crate) const MAX_ALIGN: u32 = 65_536;

/// What a segment header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) align: u32,
    pub(crate) log: Identity,
    pub(crate) writer: Identity,
    pub(crate) epoch: Epoch,
    pub(crate) segment: SegmentId,
    /// LSN of the first record, and the chain value before it.
    pub(crate) first: Lsn,
    pub(crate) chain: u64,
    /// The segment that this one continues (0: none), and the offset at which it ended.
    pub(crate) previous: SegmentId,
    pub(crate) previous_end: u64,
    /// W as known when the segment was begun.
    pub(crate) durable: Lsn,
    pub(crate) released: Lsn,
    /// The segment counts only once its records reach this LSN: recovery copies what
    /// it keeps, and a copy that a crash cut short must not replace the original.
    pub(crate) copied_until: Lsn,
    /// Microseconds since 1970.
    pub(crate) created: i64,
    /// The caller has given up what lay at or above `copied_until` before.
    pub(crate) truncates: bool,
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAHeader {
    /// Never completely written, or damaged.
    Invalid(&'static str),
    /// Written by a newer version.
    Newer(u16),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(u16::from(self.truncates) * TRUNCATES).to_le_bytes());
        out.extend_from_slice(&self.align.to_le_bytes());
        out.extend_from_slice(&self.log.get().to_le_bytes());
        out.extend_from_slice(&self.writer.get().to_le_bytes());
        for field in [
            self.epoch.get(),
            self.segment.get(),
            self.first.get(),
            self.chain,
            self.previous.get(),
            self.previous_end,
            self.durable.get(),
            self.released.get(),
            self.copied_until.get(),
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.created.to_le_bytes());
        out.resize(HEADER_BYTES - 4, 0);
        let sum = crc(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SegmentHeader, NotAHeader> {
        const SHORT: NotAHeader = NotAHeader::Invalid("shorter than a segment header");
        let (covered, rest) = bytes.split_at_checked(HEADER_BYTES - 4).ok_or(SHORT)?;
        let sum = Fields(rest).u32().ok_or(SHORT)?;
        let mut fields = Fields(covered);
        if fields.bytes() != Some(MAGIC) {
            return Err(NotAHeader::Invalid("no segment header"));
        }
        if sum != crc(covered) {
            return Err(NotAHeader::Invalid("segment header has a wrong checksum"));
        }
        let (version, flags) = (fields.u16(), fields.u16());
        if let Some(newer) = version.filter(|version| *version > VERSION)
            && !planted("newer-format-taken-for-a-leftover")
        {
            return Err(NotAHeader::Newer(newer));
        }
        let truncates = match (version, flags) {
            (Some(1), _) if planted("older-format-forgotten") => {
                return Err(NotAHeader::Invalid("segment header has an unknown version"));
            }
            (Some(1..=VERSION), Some(0)) => false,
            (Some(2..=VERSION), Some(TRUNCATES)) => true,
            _ => {
                return Err(NotAHeader::Invalid(
                    "segment header has an unknown version or flag",
                ));
            }
        };
        let header = Self::decode_fields(truncates, &mut fields).ok_or(SHORT)?;
        header.check()?;
        Ok(header)
    }

    fn decode_fields(truncates: bool, fields: &mut Fields<'_>) -> Option<SegmentHeader> {
        Some(SegmentHeader {
            truncates,
            align: fields.u32()?,
            log: Identity::new(fields.u128()?),
            writer: Identity::new(fields.u128()?),
            epoch: Epoch::new(fields.u64()?),
            segment: SegmentId::new(fields.u64()?),
            first: Lsn::new(fields.u64()?),
            chain: fields.u64()?,
            previous: SegmentId::new(fields.u64()?),
            previous_end: fields.u64()?,
            durable: Lsn::new(fields.u64()?),
            released: Lsn::new(fields.u64()?),
            copied_until: Lsn::new(fields.u64()?),
            created: fields.i64()?,
        })
    }

    /// What a well-meant but wrong writer could break: bounds that the rest relies on.
    fn check(&self) -> Result<(), NotAHeader> {
        if !self.align.is_power_of_two() || self.align > MAX_ALIGN {
            return Err(NotAHeader::Invalid(
                "segment header has an impossible alignment",
            ));
        }
        if self.previous >= self.segment {
            return Err(NotAHeader::Invalid(
                "segment header continues a later segment",
            ));
        }
        Ok(())
    }

    /// Bytes that the header takes, padding included: where the first frame starts.
    pub(crate) fn stored_bytes(&self) -> u64 {
        (HEADER_BYTES as u64).next_multiple_of(u64::from(self.align.max(1)))
    }

    /// The checksum that seeds every frame of this segment: the bytes of a recycled
    /// file, of another log or of another segment never parse as frames of this one.
    pub(crate) fn frame_seed(&self) -> u32 {
        let sum = crc(&self.log.get().to_le_bytes());
        let writer = planted_or("seed-without-the-writer", 0, self.writer.get());
        let segment = planted_or("seed-without-the-segment", 0, self.segment.get());
        let sum = crc_more(sum, &writer.to_le_bytes());
        crc_more(sum, &segment.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            align: 4096,
            log: Identity::new(1),
            writer: Identity::new(2),
            epoch: Epoch::new(3),
            segment: SegmentId::new(9),
            first: Lsn::new(100),
            chain: 77,
            previous: SegmentId::new(8),
            previous_end: 8192,
            durable: Lsn::new(99),
            released: Lsn::new(5),
            copied_until: Lsn::new(101),
            created: -1,
            truncates: true,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = header().encode();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named_and_every_shorter_input_is_refused() {
        let mut bytes = header().encode();
        bytes[8] = 7;
        let sum = crc(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(NotAHeader::Newer(7)));
        for length in 0..HEADER_BYTES {
            assert!(SegmentHeader::decode(&bytes[..length]).is_err());
        }
    }
}
