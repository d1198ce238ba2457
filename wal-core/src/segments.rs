//! The segments of an open log: names at first, headers when they are needed.
//!
//! Opening reads the newest few headers only, so that a log of ten thousand segments opens
//! as fast as one of ten. What a header says is checked when it is read (G4).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::index::{Index, MAX_ENTRIES};
use crate::segment::SegmentHeader;
use crate::sync::Mutex;
use crate::{Lsn, SegmentId};

/// So many of the newest segments keep their index in memory, however long it is.
const NEWEST: usize = 8;

/// The older ones' are read from their footers when they are asked for; what is kept of them
/// has no more entries than these together: 3 MiB, as much as eight of the longest.
const OLDER_ENTRIES: usize = 8 * MAX_ENTRIES;

/// An index without entries counts as so many.
const INDEX_OVERHEAD: usize = 8;

/// A segment whose header was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentInfo {
    pub(crate) header: SegmentHeader,
    /// Where its last frame ends, as far as is known.
    pub(crate) end: u64,
}

/// A segment of the log.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: SegmentId,
    pub(crate) first: Lsn,
    pub(crate) info: Option<Box<SegmentInfo>>,
    pub(crate) index: Option<Arc<Mutex<Index>>>,
}

impl Known {
    /// Only the name.
    pub(crate) fn named(id: SegmentId, first: Lsn) -> Self {
        Known {
            id,
            first,
            info: None,
            index: None,
        }
    }

    /// A copy of what its header says, if that was read.
    pub(crate) fn info(&self) -> Option<SegmentInfo> {
        self.info.as_deref().copied()
    }

    /// With its header.
    pub(crate) fn read(info: SegmentInfo) -> Self {
        Known {
            info: Some(Box::new(info)),
            ..Known::named(info.header.segment, info.header.first)
        }
    }
}

/// All of them, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segments(VecDeque<Known>);

impl Segments {
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Known> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn oldest(&self) -> Option<&Known> {
        self.0.front()
    }

    pub(crate) fn newest(&self) -> Option<&Known> {
        self.0.back()
    }

    pub(crate) fn newest_mut(&mut self) -> Option<&mut Known> {
        self.0.back_mut()
    }

    pub(crate) fn push_oldest(&mut self, segment: Known) {
        self.0.push_front(segment);
    }

    /// Adds a segment that was just begun.
    pub(crate) fn push(&mut self, segment: Known) {
        self.0.push_back(segment);
        let stale = self.0.len().checked_sub(NEWEST + 1);
        if let Some(known) = stale.and_then(|stale| self.0.get_mut(stale)) {
            known.index = None;
        }
    }

    /// Takes back the newest.
    pub(crate) fn pop(&mut self) -> Option<Known> {
        self.0.pop_back()
    }

    /// The segment that holds `lsn`, or the one that will.
    pub(crate) fn of(&self, lsn: Lsn) -> Option<&Known> {
        self.0.get(self.place_of(lsn)?)
    }

    /// The segments from the one that holds `lsn` on.
    pub(crate) fn since(&self, lsn: Lsn) -> impl DoubleEndedIterator<Item = &Known> {
        self.0.iter().skip(self.place_of(lsn).unwrap_or(0))
    }

    fn place_of(&self, lsn: Lsn) -> Option<usize> {
        let after = self.0.partition_point(|known| known.first <= lsn);
        after.checked_sub(1)
    }

    pub(crate) fn get(&self, id: SegmentId) -> Option<&Known> {
        self.0.get(self.place(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: SegmentId) -> Option<&mut Known> {
        let place = self.place(id)?;
        self.0.get_mut(place)
    }

    /// The one after `id`.
    pub(crate) fn after(&self, id: SegmentId) -> Option<&Known> {
        self.0.get(self.0.partition_point(|known| known.id <= id))
    }

    /// The one before `id`.
    pub(crate) fn before(&self, id: SegmentId) -> Option<&Known> {
        let at = self.0.partition_point(|known| known.id < id);
        self.0.get(at.checked_sub(1)?)
    }

    /// Keeps the index of a segment. Those of older ones go when there are too many.
    pub(crate) fn remember(&mut self, id: SegmentId, index: &Arc<Mutex<Index>>) {
        let older = self.0.len().saturating_sub(NEWEST);
        let weight = |index: &Arc<Mutex<Index>>| index.lock().entries().len() + INDEX_OVERHEAD;
        let kept = self.0.iter().take(older).filter_map(|it| it.index.as_ref());
        if kept.map(weight).sum::<usize>() + weight(index) > OLDER_ENTRIES {
            let older = self.0.iter_mut().take(older);
            older.for_each(|known| known.index = None);
        }
        if let Some(known) = self.get_mut(id) {
            known.index = Some(Arc::clone(index));
        }
    }

    fn place(&self, id: SegmentId) -> Option<usize> {
        self.0.binary_search_by_key(&id, |known| known.id).ok()
    }

    /// Takes out every segment below `id`.
    pub(crate) fn take_before(&mut self, id: SegmentId) -> Vec<Known> {
        let count = self.0.partition_point(|known| known.id < id);
        self.0.drain(..count).collect()
    }

    /// Takes out every segment above `id`.
    pub(crate) fn take_after(&mut self, id: SegmentId) -> Vec<Known> {
        let keep = self.0.partition_point(|known| known.id <= id);
        self.0.drain(keep..).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Entry;

    fn index(entries: usize) -> Arc<Mutex<Index>> {
        let mut index = Index::default();
        for frame in 0..entries as u64 {
            let entry = Entry {
                lsn: Lsn::new(frame),
                offset: frame * 4096,
                time: 0,
            };
            index.push(entry, 0);
        }
        Arc::new(Mutex::new(index))
    }

    /// How many of 100 segments keep an index of this length after each was asked for.
    fn kept(entries: usize) -> usize {
        let mut segments = Segments::default();
        let ids = (1..=100).map(SegmentId::new);
        ids.clone()
            .for_each(|id| segments.push(Known::named(id, Lsn::new(id.get()))));
        let index = index(entries);
        ids.for_each(|id| segments.remember(id, &index));
        segments.iter().filter(|it| it.index.is_some()).count()
    }

    /// G8.
    #[test]
    fn many_short_indexes_are_kept_and_few_long_ones() {
        assert_eq!(kept(64), 100);
        assert!((NEWEST..=NEWEST + 8).contains(&kept(MAX_ENTRIES)));
    }
}
