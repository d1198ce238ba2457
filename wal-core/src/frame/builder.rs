//! Building a frame.

use std::iter::Peekable;

use bytes::{Bytes, BytesMut};

use super::{Codec, ENTRY_BYTES, FrameHeader, HEADER_BYTES, Kind, entries};
use crate::append::Lengths;
use crate::checksum::{chain, crc, crc_more, record_crc};
use crate::group::Payload;
use crate::{Lsn, SegmentId};

/// Collects the records of one frame while it is built.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    first: Lsn,
    chain_before: u64,
    chain: u64,
    table: BytesMut,
    payload: Vec<Bytes>,
    /// Small payload, gathered: a copy costs less than a slice of its own in a vectored write.
    gathered: BytesMut,
    payload_bytes: u64,
    records: u32,
    codec: Codec,
}

/// Chunks below this many bytes are gathered.
pub(crate) const SMALL_CHUNK: usize = 4096;

impl FrameBuilder {
    pub(crate) fn new(first: Lsn, chain: u64, records: usize) -> Self {
        FrameBuilder {
            first,
            chain_before: chain,
            chain,
            table: BytesMut::with_capacity(records * ENTRY_BYTES),
            payload: Vec::new(),
            gathered: BytesMut::new(),
            payload_bytes: 0,
            records: 0,
            codec: Codec::Plain,
        }
    }

    /// A frame without records that carries `attachment`.
    pub(crate) fn with_attachment(first: Lsn, chain: u64, attachment: Bytes) -> Self {
        FrameBuilder {
            payload_bytes: attachment.len() as u64,
            payload: vec![attachment],
            ..FrameBuilder::new(first, chain, 0)
        }
    }

    /// Stores the payload as an LZ4 block, if that saves a block of `align` bytes.
    pub(crate) fn compress(&mut self, align: u32) {
        self.close_gathered();
        let plain = match self.payload.as_slice() {
            [one] => one.clone(),
            several => several.concat().into(),
        };
        let blocks = |payload: u64| {
            (HEADER_BYTES as u64 + self.table.len() as u64 + payload).div_ceil(u64::from(align))
        };
        let packed = lz4_flex::block::compress(&plain);
        if blocks(packed.len() as u64) < blocks(self.payload_bytes) {
            self.codec = Codec::Lz4;
            self.payload_bytes = packed.len() as u64;
            self.payload = vec![packed.into()];
        }
    }

    /// The first record's number.
    pub(crate) fn first(&self) -> Lsn {
        self.first
    }

    /// Where the payload starts in the frame.
    pub(crate) fn payload_offset(&self) -> u64 {
        (HEADER_BYTES + self.table.len()) as u64
    }

    /// How many records there are so far, and whether their payload is compressed.
    pub(crate) fn records(&self) -> (u32, Codec) {
        (self.records, self.codec)
    }

    /// Length and checksum of each record.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        entries(&self.table)
    }

    /// Adds the records of an append.
    pub(crate) fn add(&mut self, payload: Payload, lengths: Lengths) {
        match payload {
            Payload::Small(bytes) => self.push_small(bytes, lengths),
            Payload::Chunks(chunks) => self.push(chunks, lengths),
        }
    }

    /// Adds records: their payload in chunks, none of which splits a record, and their lengths.
    pub(crate) fn push(
        &mut self,
        chunks: impl IntoIterator<Item = Bytes> + AsRef<[Bytes]>,
        lengths: impl IntoIterator<Item = u32>,
    ) {
        let mut lengths = lengths.into_iter().peekable();
        for chunk in chunks.as_ref() {
            self.list(chunk, &mut lengths);
        }
        for _ in lengths {
            self.entry(&[]); // what is left over has no bytes
        }
        for chunk in chunks {
            if chunk.len() < SMALL_CHUNK {
                self.gathered.extend_from_slice(&chunk);
            } else {
                self.close_gathered();
                self.payload.push(chunk);
            }
        }
    }

    /// Adds records whose payload is small. What stands behind what was gathered before is not copied.
    fn push_small(&mut self, bytes: BytesMut, lengths: impl IntoIterator<Item = u32>) {
        let mut lengths = lengths.into_iter().peekable();
        self.list(&bytes, &mut lengths);
        for _ in lengths {
            self.entry(&[]);
        }
        if bytes.is_empty() {
            return;
        }
        if self.gathered.as_ptr_range().end != bytes.as_ptr() {
            self.close_gathered();
        }
        self.gathered.unsplit(bytes); // without a copy
    }

    /// Enters the records that stand in `chunk`.
    fn list(&mut self, chunk: &[u8], lengths: &mut Peekable<impl Iterator<Item = u32>>) {
        let mut rest = chunk;
        while let Some(length) = lengths.next_if(|length| *length as usize <= rest.len()) {
            let (record, after) = rest.split_at(length as usize);
            self.entry(record);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        self.payload_bytes += chunk.len() as u64;
    }

    fn close_gathered(&mut self) {
        if !self.gathered.is_empty() {
            self.payload
                .push(std::mem::take(&mut self.gathered).freeze());
        }
    }

    fn entry(&mut self, record: &[u8]) {
        let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
        let sum = record_crc(self.first.plus(u64::from(self.records)), record);
        self.table.extend_from_slice(&length.to_le_bytes());
        self.table.extend_from_slice(&sum.to_le_bytes());
        self.chain = chain(self.chain, length, sum);
        self.records += 1;
    }

    /// One past the last record, and the chain value after it.
    pub(crate) fn end(&self) -> (Lsn, u64) {
        (self.first.plus(u64::from(self.records)), self.chain)
    }

    /// Bytes of header, table and payload.
    pub(crate) fn bytes(&self) -> u64 {
        (HEADER_BYTES + self.table.len()) as u64 + self.payload_bytes
    }

    /// The frame's bytes for this place, unpadded. `note` says what goes into the header
    /// besides the records: kind, durable and released LSN, time.
    pub(crate) fn finish(mut self, note: Note, seed: u32, offset: u64) -> Vec<Bytes> {
        self.close_gathered();
        let header = FrameHeader {
            kind: note.kind,
            codec: self.codec,
            begins: note.begins,
            records: self.records,
            table_crc: self.table_crc(note.kind),
            payload_bytes: self.payload_bytes,
            first: self.first,
            durable: note.durable,
            released: note.released,
            chain: self.chain_before,
            time: note.time,
            segment: note.segment,
        };
        let mut head = BytesMut::with_capacity(HEADER_BYTES + self.table.len());
        head.extend_from_slice(&header.encode(seed, offset));
        head.extend_from_slice(&self.table);
        let mut parts = Vec::with_capacity(self.payload.len() + 2);
        parts.push(head.freeze());
        parts.extend(self.payload);
        parts
    }

    /// The checksum of the table, or of the attachment where there are no records.
    fn table_crc(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Records => crc(&self.table),
            _ => self.payload.iter().fold(0, |sum, part| crc_more(sum, part)),
        }
    }
}

/// What a frame header says besides its records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) kind: Kind,
    pub(crate) durable: Lsn,
    pub(crate) released: Lsn,
    pub(crate) time: i64,
    pub(crate) segment: SegmentId,
    pub(crate) begins: bool,
}
