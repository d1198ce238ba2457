//! The bytes of an object: a header, what its kind needs, and the frames.
//!
//! `docs/FORMAT.md` draws every byte. An object says by itself what it is, who wrote it, and
//! where it belongs: nothing relies on metadata, entity tags, or the order of a listing.

use bytes::Bytes;
use wal_core::planted::planted;
use wal_core::{Lsn, SegmentId};

use crate::key::Place;

/// Bytes of an object's header.
pub(crate) const HEADER_BYTES: usize = 168;
/// The format version this code writes, and the newest it reads.
pub(crate) const VERSION: u16 = 1;
const MAGIC: [u8; 8] = *b"\x89WALobj\n";

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Frames of the log.
    Frames = 1,
    /// The end of its epoch: its writer owns the next one.
    Seal = 2,
    /// The writer closed the log.
    Close = 3,
    /// What lies before the trim point was given up; or the list of segments has changed.
    Trim = 4,
    /// The last append to a segment, outside of the sequence.
    Footer = 5,
}

/// What an object says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Bytes between header and frames: the catalogue, or the name of a seal's writer.
    pub(crate) extra_bytes: u32,
    pub(crate) extra_crc: u32,
    pub(crate) writer: u128,
    pub(crate) place: Place,
    /// The newest segment, and where its frames go on.
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) first: Lsn,
    /// Every object of this epoch below this number was confirmed.
    pub(crate) confirmed: u64,
    /// The object that began the newest segment; 0/0, which is always a seal, if there is none.
    pub(crate) head: Place,
    /// Everything before this place was given up, ...
    pub(crate) trim: Place,
    /// ... and everything before this one was deleted, seals apart.
    pub(crate) gone: Place,
    /// Every record below was durable.
    pub(crate) durable: Lsn,
    /// Microseconds since 1970.
    pub(crate) time: i64,
    /// The checksum of the header of the object before this one.
    pub(crate) previous: u32,
}

/// Why bytes are not an object's header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotAnObject {
    Invalid(&'static str),
    Newer(u16),
}

impl std::fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotAnObject::Invalid(why) => f.write_str(why),
            NotAnObject::Newer(version) => write!(
                f,
                "it has format version {version}, this program knows {VERSION}: use a newer one"
            ),
        }
    }
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind as u8, 0]);
        out.extend_from_slice(&self.extra_bytes.to_le_bytes());
        out.extend_from_slice(&self.writer.to_le_bytes());
        for field in [
            self.place.epoch,
            self.place.seq,
            self.segment.get(),
            self.offset,
            self.frame_bytes,
            self.first.get(),
            self.confirmed,
            self.head.epoch,
            self.head.seq,
            self.trim.epoch,
            self.trim.seq,
            self.gone.epoch,
            self.gone.seq,
            self.durable.get(),
        ] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.time.to_le_bytes());
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.extend_from_slice(&self.extra_crc.to_le_bytes());
        out.resize(HEADER_BYTES - 4, 0);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&out);
        header
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, NotAnObject> {
        const SHORT: NotAnObject = NotAnObject::Invalid("it is shorter than an object of a log");
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(SHORT)?;
        let (covered, sum) = header.split_at(HEADER_BYTES - 4);
        let mut fields = Fields(covered);
        if fields.take() != Some(MAGIC) {
            return Err(NotAnObject::Invalid("it is not an object of a log"));
        }
        let wrong = sum != crc32c::crc32c(covered).to_le_bytes();
        if wrong && !planted("object-header-checksum-not-compared") {
            return Err(NotAnObject::Invalid("its header has a wrong checksum"));
        }
        let version = fields.take().map(u16::from_le_bytes).ok_or(SHORT)?;
        if version > VERSION {
            return Err(NotAnObject::Newer(version));
        }
        let kind = match fields.take() {
            Some([1, 0]) => Kind::Frames,
            Some([2, 0]) => Kind::Seal,
            Some([3, 0]) => Kind::Close,
            Some([4, 0]) => Kind::Trim,
            Some([5, 0]) => Kind::Footer,
            _ => return Err(NotAnObject::Invalid("it is of an unknown kind")),
        };
        Self::decode_fields(kind, &mut fields).ok_or(SHORT)
    }

    fn decode_fields(kind: Kind, fields: &mut Fields<'_>) -> Option<Header> {
        let extra_bytes = fields.take().map(u32::from_le_bytes)?;
        let writer = fields.take().map(u128::from_le_bytes)?;
        let mut number = || fields.take().map(u64::from_le_bytes);
        Some(Header {
            kind,
            extra_bytes,
            writer,
            place: Place::new(number()?, number()?),
            segment: SegmentId::new(number()?),
            offset: number()?,
            frame_bytes: number()?,
            first: Lsn::new(number()?),
            confirmed: number()?,
            head: Place::new(number()?, number()?),
            trim: Place::new(number()?, number()?),
            gone: Place::new(number()?, number()?),
            durable: Lsn::new(number()?),
            time: fields.take().map(i64::from_le_bytes)?,
            previous: fields.take().map(u32::from_le_bytes)?,
            extra_crc: fields.take().map(u32::from_le_bytes)?,
        })
    }

    /// Whether an object at this place, so large, can have this header.
    pub(crate) fn fits(&self, place: Place, size: u64) -> bool {
        let bytes =
            (HEADER_BYTES as u64 + u64::from(self.extra_bytes)).checked_add(self.frame_bytes);
        self.place == place && bytes == Some(size)
    }

    /// Whether its frames lie where those of `last`, the object before it, end. What says otherwise
    /// with a right checksum is forged.
    pub(crate) fn continues(&self, last: &Header) -> bool {
        let begins = self.kind != Kind::Frames || self.offset == 0;
        begins || (self.segment, self.offset) == (last.segment, last.end_offset())
    }

    /// The checksum that the next object's header repeats.
    pub(crate) fn checksum(bytes: &[u8; HEADER_BYTES]) -> u32 {
        bytes.last_chunk().map_or(0, |sum| u32::from_le_bytes(*sum))
    }

    /// Where the segment's frames go on after this object.
    pub(crate) fn end_offset(&self) -> u64 {
        self.offset.saturating_add(self.frame_bytes)
    }

    /// Whether it holds the byte at this offset of its segment.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        (self.offset..self.end_offset()).contains(&offset)
    }
}

/// An object that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) header: Header,
    pub(crate) extra: Bytes,
    /// The frames, in one part or as they were appended.
    pub(crate) frames: Vec<Bytes>,
}

impl Object {
    pub(crate) fn decode(bytes: &Bytes) -> Result<Object, NotAnObject> {
        let header = Header::decode(bytes)?;
        let cut = NotAnObject::Invalid("it is shorter or longer than its header says");
        let frames = usize::try_from(header.extra_bytes)
            .ok()
            .and_then(|extra| HEADER_BYTES.checked_add(extra))
            .filter(|start| *start <= bytes.len());
        let Some(start) = frames else {
            return Err(cut);
        };
        let (extra, frames) = (bytes.slice(HEADER_BYTES..start), bytes.slice(start..));
        if frames.len() as u64 != header.frame_bytes {
            return Err(cut);
        }
        if crc32c::crc32c(&extra) != header.extra_crc {
            return Err(NotAnObject::Invalid("its catalogue has a wrong checksum"));
        }
        Ok(Object {
            header,
            extra,
            frames: vec![frames],
        })
    }

    /// What is left of an object that cannot be decoded, where `header` says by its neighbours what
    /// it was. Its frames were the last of it.
    pub(crate) fn damaged(header: Header, bytes: &Bytes) -> Object {
        let frames = usize::try_from(header.frame_bytes).unwrap_or(usize::MAX);
        Object {
            header,
            extra: Bytes::new(),
            frames: vec![bytes.slice(bytes.len().saturating_sub(frames)..)],
        }
    }

    /// The part of its frames that lies in `from..to` of the segment, appended to `out`.
    pub(crate) fn part(&self, from: u64, to: u64, out: &mut Vec<Bytes>) {
        let mut at = self.header.offset;
        for frame in &self.frames {
            let length = frame.len() as u64;
            let start = from.clamp(at, at + length) - at;
            let end = to.clamp(at, at + length) - at;
            if let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end))
                && start < end
            {
                out.push(frame.slice(start..end));
            }
            at += length;
        }
    }
}

/// Reads fields off the front, never beyond the end.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// An unsigned number in groups of seven bits, lowest first; at most ten bytes.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take()?;
            let bits = u64::from(byte & 0x7F);
            value |= bits.checked_shl(shift).filter(|it| it >> shift == bits)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// Writes a number as [`Fields::varint`] reads it.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn header() -> Header {
        Header {
            kind: Kind::Frames,
            extra_bytes: 3,
            extra_crc: crc32c::crc32c(b"abc"),
            writer: 7 << 100,
            place: Place::new(3, 4),
            segment: SegmentId::new(5),
            offset: 6,
            frame_bytes: 5,
            first: Lsn::new(8),
            confirmed: 2,
            head: Place::new(3, 1),
            trim: Place::new(1, 9),
            gone: Place::new(1, 8),
            durable: Lsn::new(7),
            time: -1,
            previous: 10,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok(header()));
        let whole = [&bytes[..], b"abc", b"frame"].concat();
        let object = Object::decode(&whole.into()).unwrap();
        let mut out = Vec::new();
        object.part(7, 100, &mut out);
        assert_eq!(
            (object.extra, out.concat()),
            ("abc".into(), b"rame".to_vec())
        );
    }

    #[test]
    fn every_flipped_bit_and_every_shorter_input_is_refused() {
        let bytes = header().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
        let whole = [&bytes[..], b"abc", b"frame"].concat();
        for length in 0..whole.len() {
            assert!(Object::decode(&whole[..length].to_vec().into()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = header().encode();
        bytes[8] = 9;
        let sum = crc32c::crc32c(&bytes[..HEADER_BYTES - 4]);
        bytes[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::decode(&bytes), Err(NotAnObject::Newer(9)));
    }

    #[test]
    fn varints_come_back_and_overlong_ones_are_refused() {
        for value in [0, 1, 127, 128, 300, u64::MAX] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(Fields(&out).varint(), Some(value));
        }
        assert_eq!(Fields(&[0xFF; 11]).varint(), None);
        assert_eq!(Fields(&[0x80]).varint(), None);
    }
}
