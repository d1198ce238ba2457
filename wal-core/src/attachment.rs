//! What a frame without records carries: the named holds, and at the end of a segment the
//! footer, which tells which LSN is where.
//!
//! `docs/FORMAT.md` draws every byte. An attachment with a footer fills its frame up to the
//! alignment and ends with a trailer that says where the frame starts: so the footer of a
//! segment that was closed is found from its end, and opening reads only that.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use crate::Lsn;
use crate::checksum::crc_more;
use crate::codec::Fields;
use crate::frame::HEADER_BYTES;
use crate::index::{Entry, Index};

/// The named holds: each keeps the records from its LSN on.
pub(crate) type Holds = BTreeMap<String, Lsn>;

/// The longest name of a hold, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// The most named holds that a log has.
pub(crate) const MAX_HOLDS: usize = 4096;
/// Bytes of a trailer.
pub(crate) const TRAILER_BYTES: usize = 16;

const ENTRY_BYTES: usize = 24;
const FOOTER_BYTES: usize = 28;
const TRAILER_MAGIC: [u8; 4] = *b"WALe";

/// What was attached to a frame.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Attachment {
    pub(crate) holds: Holds,
    pub(crate) index: Option<Index>,
}

/// Where a frame with a footer stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seed: u32,
    pub(crate) offset: u64,
    pub(crate) align: u32,
}

/// The attachment of a frame that notes the holds.
pub(crate) fn holds_only(holds: &Holds) -> Bytes {
    let mut out = BytesMut::new();
    encode_holds(&mut out, holds);
    out.extend_from_slice(&[0]);
    out.freeze()
}

/// The attachment of a segment's last frame.
pub(crate) fn with_footer(holds: &Holds, index: &Index, place: Place) -> Bytes {
    let mut out = BytesMut::new();
    encode_holds(&mut out, holds);
    out.extend_from_slice(&[1]);
    out.extend_from_slice(&index.frames().to_le_bytes());
    out.extend_from_slice(&index.payload_bytes().to_le_bytes());
    out.extend_from_slice(&index.last_time().to_le_bytes());
    out.extend_from_slice(&count(index.entries().len()));
    for entry in index.entries() {
        out.extend_from_slice(&entry.lsn.get().to_le_bytes());
        out.extend_from_slice(&entry.offset.to_le_bytes());
        out.extend_from_slice(&entry.time.to_le_bytes());
    }
    let align = usize::try_from(place.align).unwrap_or(1);
    let end = (HEADER_BYTES + out.len() + TRAILER_BYTES).next_multiple_of(align);
    out.resize(end - HEADER_BYTES - TRAILER_BYTES, 0);
    let mut trailer = BytesMut::with_capacity(TRAILER_BYTES);
    trailer.extend_from_slice(&place.offset.to_le_bytes());
    trailer.extend_from_slice(&TRAILER_MAGIC);
    let sum = crc_more(place.seed, &trailer);
    trailer.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&trailer);
    out.freeze()
}

/// Bytes of a frame with a footer that has so many entries, before padding.
pub(crate) fn footer_frame_bytes(holds: &Holds, entries: usize) -> u64 {
    let holds: usize = holds.keys().map(|name| 9 + name.len()).sum();
    let fixed = HEADER_BYTES + 5 + FOOTER_BYTES + TRAILER_BYTES;
    (fixed + holds + entries * ENTRY_BYTES) as u64
}

fn encode_holds(out: &mut BytesMut, holds: &Holds) {
    out.extend_from_slice(&count(holds.len()));
    for (name, from) in holds {
        out.extend_from_slice(&from.get().to_le_bytes());
        out.extend_from_slice(&[u8::try_from(name.len()).unwrap_or(u8::MAX)]);
        out.extend_from_slice(name.as_bytes());
    }
}

fn count(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// Where the frame starts that ends with these bytes, the last of a segment; `None` if they
/// are no trailer of this segment.
pub(crate) fn frame_before(trailer: &[u8], seed: u32) -> Option<u64> {
    let (covered, sum) = trailer.split_last_chunk::<4>()?;
    let mut fields = Fields(covered);
    let offset = fields.u64()?;
    let right = fields.bytes() == Some(TRAILER_MAGIC)
        && fields.0.is_empty()
        && u32::from_le_bytes(*sum) == crc_more(seed, covered);
    right.then_some(offset)
}

impl Attachment {
    /// Reads what was attached; its checksum has been verified. `None` if it makes no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Attachment> {
        let mut fields = Fields(bytes);
        if bytes.is_empty() {
            return Some(Attachment::default()); // version 1 attached nothing
        }
        let mut holds = Holds::new();
        for _ in 0..fields.u32()? {
            let from = Lsn::new(fields.u64()?);
            let length = usize::from(fields.u8()?);
            let name = std::str::from_utf8(fields.slice(length)?).ok()?;
            holds.insert(name.to_owned(), from);
        }
        let index = match fields.u8()? {
            0 => None,
            1 => Some(decode_index(&mut fields)?),
            _ => return None,
        };
        Some(Attachment { holds, index })
    }
}

fn decode_index(fields: &mut Fields<'_>) -> Option<Index> {
    let (frames, payload_bytes, last_time) = (fields.u64()?, fields.u64()?, fields.i64()?);
    let count = usize::try_from(fields.u32()?).ok()?;
    let bytes = fields.slice(count.checked_mul(ENTRY_BYTES)?)?;
    let mut entries = Vec::with_capacity(count); // no more than was really there
    for entry in bytes.chunks_exact(ENTRY_BYTES) {
        let mut fields = Fields(entry);
        entries.push(Entry {
            lsn: Lsn::new(fields.u64()?),
            offset: fields.u64()?,
            time: fields.i64()?,
        });
    }
    let ascends = entries.is_sorted_by(|a, b| a.lsn <= b.lsn && a.offset < b.offset);
    ascends.then(|| Index::stored(entries, frames, payload_bytes, last_time))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index(frames: u64) -> Index {
        let mut index = Index::default();
        for frame in 0..frames {
            let entry = Entry {
                lsn: Lsn::new(frame),
                offset: 4096 * (frame + 1),
                time: 7,
            };
            index.push(entry, 10);
        }
        index
    }

    const PLACE: Place = Place {
        seed: 5,
        offset: 8192,
        align: 4096,
    };

    #[test]
    fn what_is_attached_is_read_and_found_from_its_end() {
        let holds = Holds::from([("backup".into(), Lsn::new(3)), ("ü".into(), Lsn::ZERO)]);
        let bytes = with_footer(&holds, &index(300), PLACE);
        assert_eq!((HEADER_BYTES + bytes.len()) % 4096, 0);
        assert!(bytes.len() as u64 + 80 >= footer_frame_bytes(&holds, 300));
        let found = Attachment::decode(&bytes).unwrap();
        assert_eq!(found.holds, holds);
        assert_eq!(found.index.unwrap(), index(300));
        let trailer = &bytes[bytes.len() - TRAILER_BYTES..];
        assert_eq!(frame_before(trailer, 5), Some(8192));
        assert_eq!(frame_before(trailer, 6), None, "another segment's");
        let only = Attachment::decode(&holds_only(&holds)).unwrap();
        assert_eq!((only.holds, only.index), (holds, None));
    }

    proptest! {
        /// G9: hostile bytes are refused or read; no panic, no allocation beyond them.
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Attachment::decode(&bytes);
            let _ = frame_before(&bytes, 1);
        }

        #[test]
        fn shorter_bytes_are_refused(cut in 1..80_usize) {
            let holds = Holds::from([("backup".into(), Lsn::new(3))]);
            let mut bytes = with_footer(&holds, &index(2), Place { align: 1, ..PLACE });
            bytes.truncate(bytes.len() - TRAILER_BYTES - cut);
            prop_assert!(bytes.is_empty() || Attachment::decode(&bytes).is_none());
        }
    }
}
