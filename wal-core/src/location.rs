//! Where a record lies: enough to read and verify it alone, in one read.

use std::sync::OnceLock;

use crate::checksum::record_crc;
use crate::codec::{Fields, join};
use crate::{Lsn, SegmentId};

/// Set in `offset` where the record is in a compressed frame, and `offset` is the frame's.
const IN_FRAME: u64 = 1 << 63;

/// Where a record lies, with its length and checksum. A caller may keep it, in an index of
/// its own: [`Wal::read_at`](crate::Wal::read_at) reads the record back in one read, verified,
/// for as long as it is not released or truncated.
///
/// ```
/// use wal_core::{Append, Location, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// let mut commit = wal.append(Append::from("value").located())?;
/// let location = commit.wait_located()?[0];
/// let kept = location.to_bytes();
/// let location = Location::from_bytes(&kept);
/// assert_eq!(wal.read_at(&location)?, "value");
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Location {
    pub(crate) segment: SegmentId,
    pub(crate) lsn: Lsn,
    offset: u64,
    pub(crate) length: u32,
    pub(crate) crc: u32,
}

/// What a location points at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The record's bytes stand at this offset.
    Payload(u64),
    /// The compressed frame that holds the record starts at this offset.
    Frame(u64),
}

impl Location {
    pub(crate) fn new(
        segment: SegmentId,
        lsn: Lsn,
        target: Target,
        (length, crc): (u32, u32),
    ) -> Self {
        let offset = match target {
            Target::Payload(offset) => offset,
            Target::Frame(offset) => offset | IN_FRAME,
        };
        Location {
            segment,
            lsn,
            offset,
            length,
            crc,
        }
    }

    pub(crate) fn target(&self) -> Target {
        match self.offset & IN_FRAME {
            0 => Target::Payload(self.offset),
            _ => Target::Frame(self.offset & !IN_FRAME),
        }
    }

    /// The frame has found its place.
    pub(crate) fn moved_to(&mut self, segment: SegmentId, frame_offset: u64) {
        self.segment = segment;
        self.offset += frame_offset;
    }

    /// Whether these bytes are the record's.
    pub(crate) fn is_of(&self, payload: &[u8]) -> bool {
        payload.len() as u64 == u64::from(self.length) && record_crc(self.lsn, payload) == self.crc
    }

    /// The record's number.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// The record's length in bytes.
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// As 32 bytes, little-endian: segment, LSN, offset, length, checksum.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        join(&[
            &self.segment.get().to_le_bytes(),
            &self.lsn.get().to_le_bytes(),
            &self.offset.to_le_bytes(),
            &self.length.to_le_bytes(),
            &self.crc.to_le_bytes(),
        ])
    }

    /// What [`Location::to_bytes`] gave. Other bytes give a location where nothing is found.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut fields = Fields(bytes);
        let mut next = || fields.u64().unwrap_or_default();
        Location {
            segment: SegmentId::new(next()),
            lsn: Lsn::new(next()),
            offset: next(),
            length: fields.u32().unwrap_or_default(),
            crc: fields.u32().unwrap_or_default(),
        }
    }
}

/// Where the committer notes the place of an append that asked for it.
#[derive(Debug, Default)]
pub(crate) struct Placed(OnceLock<Vec<Location>>);

impl Placed {
    pub(crate) fn set(&self, locations: Vec<Location>) {
        let _ = self.0.set(locations);
    }

    pub(crate) fn get(&self) -> Option<&[Location]> {
        self.0.get().map(Vec::as_slice)
    }
}
