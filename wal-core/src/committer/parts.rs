//! What goes into the committer, and what comes out.

use std::sync::Arc;

use bytes::Bytes;

use super::{Segment, Unsealed};
use crate::attachment::Holds;
use crate::frame::Kind;
use crate::index::Index;
use crate::segment::SegmentHeader;
use crate::storage::Sync;
use crate::sync::Mutex;
use crate::{Identity, Lsn, Position, SegmentId, Writer};

/// A write to be performed.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) id: u64,
    pub(crate) at: Position,
    pub(crate) bytes: Vec<Bytes>,
    pub(crate) sync: Sync,
    /// Set when this write begins a segment.
    pub(crate) begins: Option<Begun>,
    /// The offset at which the segment ends once this is written.
    pub(crate) end_offset: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) kind: Kind,
    /// Where the next segment begins, if this is the last frame of records in its own.
    pub(crate) announces: Option<Position>,
    /// What to go back to if the storage has no space for it.
    pub(super) before: Before,
}

/// A segment that a write begins.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) header: SegmentHeader,
    /// Its frames, as they are written.
    pub(crate) index: Arc<Mutex<Index>>,
}

/// The part of the state that a write changes when it is begun.
#[derive(Clone, Debug)]
pub(super) struct Before {
    pub(super) segment: Option<Segment>,
    pub(super) unsealed: Option<Unsealed>,
    pub(super) next: Lsn,
    pub(super) chain: u64,
    pub(super) attested: Lsn,
    /// A frame that stands in the index: where, and how many payload bytes it has.
    pub(super) indexed: Option<(u64, u64)>,
}

/// A place between two frames, where the log can be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) at: Position,
    pub(crate) chain: u64,
}

/// Where the log ended when it was opened.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) log: Identity,
    pub(crate) writer: Writer,
    pub(crate) next_segment: SegmentId,
    pub(crate) previous: SegmentId,
    pub(crate) previous_end: u64,
    pub(crate) next: Lsn,
    pub(crate) chain: u64,
    /// Where the seal of `previous` goes once this writer has begun a segment: behind all that
    /// lies there. `None` if it has one, or none is to be written.
    pub(crate) unsealed: Option<Cut>,
    /// The checksum seed of frames in `previous`.
    pub(crate) previous_seed: u32,
    /// End of what is copied anew before anything else is appended.
    pub(crate) copied_until: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) released: Lsn,
    pub(crate) holds: Holds,
    /// The first segment is to say that what lay there before was given up.
    pub(crate) truncates: bool,
    /// The latest time that stands in the log.
    pub(crate) time: i64,
}

/// How frames are made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) segment_bytes: u64,
    pub(crate) compress: bool,
}
