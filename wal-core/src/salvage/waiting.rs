//! Segments that wait until the others have come to where they go on: lowest LSN first.

use std::cmp::Reverse;

use super::cursor::Cursor;
use super::places::Place;
use crate::{Lsn, SegmentId};

/// A segment that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) from: Lsn,
    segment: SegmentId,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Place(Box<Place>),
    Begun(Box<Cursor>),
}

impl Waiting {
    pub(super) fn new(place: Place) -> Self {
        Waiting {
            from: place.first,
            segment: place.segment,
            what: What::Place(Box::new(place)),
        }
    }

    pub(super) fn again(from: Lsn, cursor: Cursor) -> Self {
        Waiting {
            from,
            segment: cursor.place.segment,
            what: What::Begun(Box::new(cursor)),
        }
    }

    /// The lowest LSN is the greatest: a heap gives that first.
    fn key(&self) -> (Reverse<Lsn>, Reverse<SegmentId>) {
        (Reverse(self.from), Reverse(self.segment))
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}
