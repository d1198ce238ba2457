//! The numbers of a log: records, segments, epochs, identities.
//!
//! Each is a type of its own, so that a segment number can never stand where
//! a record number belongs. All are plain integers on storage, little-endian.

use std::fmt;

/// Number of a record in the log: dense, from 0. What is cancelled or truncated gives its LSNs
/// up to the records that come after; a released one is never given again.
///
/// Ranges of LSNs are half-open: `3..5` names the records 3 and 4.
///
/// ```
/// use wal_core::Lsn;
/// let first = Lsn::new(7);
/// assert_eq!(first.plus(3), Lsn::new(10));
/// assert_eq!(Lsn::new(10).since(first), 3);
/// assert_eq!(first.to_string(), "7");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Lsn(u64);

impl Lsn {
    /// The first record of every log.
    pub const ZERO: Lsn = Lsn(0);
    /// An LSN that no record ever has.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The LSN with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Lsn(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The LSN `records` further on; stays at [`Lsn::MAX`] instead of wrapping.
    #[must_use]
    pub const fn plus(self, records: u64) -> Self {
        Lsn(self.0.saturating_add(records))
    }

    /// How many records lie between `earlier` and this LSN; 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Number of a segment: ascending from 1, some skipped, never reused for data that was
/// acknowledged.
///
/// ```
/// use wal_core::SegmentId;
/// assert_eq!(SegmentId::new(4).next(), SegmentId::new(5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct SegmentId(u64);

impl SegmentId {
    /// The segment with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        SegmentId(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The segment after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        SegmentId(self.0.saturating_add(1))
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Number of a writer's term. A later writer of the same log has a higher epoch.
///
/// ```
/// use wal_core::Epoch;
/// assert!(Epoch::new(2) > Epoch::new(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Epoch(number)
    }

    /// The number itself.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A random 128-bit identity: of a log (chosen once, when its first segment is
/// written) or of a writer (chosen anew at every open for writing).
///
/// ```
/// use wal_core::Identity;
/// let id = Identity::new(0xab);
/// assert_eq!(id.to_string(), "000000000000000000000000000000ab");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Identity(u128);

impl Identity {
    /// The identity with these bits.
    #[must_use]
    pub const fn new(bits: u128) -> Self {
        Identity(bits)
    }

    /// The bits themselves.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Where a frame lies: segment, byte offset of its first byte, LSN of its first record.
///
/// ```
/// use wal_core::{Lsn, Position, SegmentId};
/// let at = Position { segment: SegmentId::new(1), offset: 4096, lsn: Lsn::ZERO };
/// assert_eq!(at.to_string(), "segment 1, offset 4096, LSN 0");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Position {
    /// The segment.
    pub segment: SegmentId,
    /// Bytes from the start of the segment.
    pub offset: u64,
    /// LSN of the first record at that place.
    pub lsn: Lsn,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "segment {}, offset {}, LSN {}",
            self.segment, self.offset, self.lsn
        )
    }
}
