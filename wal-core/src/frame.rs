//! The frame: appends committed together under one checksum.
//!
//! `docs/FORMAT.md` draws every byte: a fixed header, a table with the length
//! and checksum of each record, the payload, zeros up to the alignment. The
//! header's checksum is seeded with log, writer, segment and offset, so bytes
//! that lie there from an earlier use of the file never pass. It also covers
//! the table's checksum, so lengths are believed only after they are verified,
//! and no allocation is ever sized by a number that was not. A frame without
//! records may carry an attachment instead (see [`crate::attachment`]).

use bytes::Bytes;

use crate::Lsn;
use crate::checksum::{RecordSums, chain, crc};
use crate::codec::Fields;
use crate::planted::planted;

mod builder;
mod header;

pub(crate) use builder::{FrameBuilder, Note, SMALL_CHUNK};
pub(crate) use header::{Codec, FrameHeader, Kind, claims_segment};

/// Bytes of a frame header.
pub(crate) const HEADER_BYTES: usize = 80;
/// Bytes of a record's entry in the table.
pub(crate) const ENTRY_BYTES: usize = 8;
/// The first four bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"WALf";

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

#[cfg(test)]
mod tests;
