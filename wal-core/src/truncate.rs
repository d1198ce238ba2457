//! Truncation: the log goes on from an earlier LSN, with other records.
//!
//! Nothing is overwritten. A new segment begins behind the last frame that ends at or below
//! that LSN, copies what it keeps of the next frame, and says that the rest was given up.
//! Once it is durable, the segments that hold nothing else are deleted.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::committer::{Committer, Cut};
use crate::driver::now_micros;
use crate::frame::Kind;
use crate::group::Group;
use crate::planted::planted;
use crate::scan::{Found, Walker};
use crate::segments::SegmentInfo;
use crate::storage::Sync;
use crate::{Error, Lsn, Result, Storage};

/// So many truncations are told apart by readers that slept meanwhile.
const REMEMBERED: usize = 1024;

/// What a reader has to know of truncations since it last looked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truncations {
    count: u64,
    /// Number and LSN of those that no later one went below.
    lowest: VecDeque<(u64, Lsn)>,
}

impl Truncations {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn add(&mut self, to: Lsn) {
        self.count += 1;
        while self
            .lowest
            .back()
            .is_some_and(|(_, earlier)| *earlier >= to)
        {
            self.lowest.pop_back();
        }
        self.lowest.push_back((self.count, to));
        if self.lowest.len() > REMEMBERED
            && let Some((_, lower)) = self.lowest.pop_front()
            && let Some((_, first)) = self.lowest.front_mut()
        {
            *first = lower; // errs on the safe side for those who slept that long
        }
    }

    /// The lowest LSN that was truncated to after the first `seen` truncations.
    pub(crate) fn since(&self, seen: u64) -> Option<Lsn> {
        let after = self.lowest.partition_point(|(number, _)| *number <= seen);
        self.lowest.get(after).map(|(_, to)| *to)
    }
}

/// Where the log is cut, and the records behind the cut that are kept.
pub(crate) struct Kept {
    cut: Cut,
    records: Vec<bytes::Bytes>,
}

/// Finds the last frame of `segment` that ends at or below `to`, which the segment holds.
pub(crate) fn find(
    storage: &Arc<dyn Storage>,
    segment: &SegmentInfo,
    limit: u64,
    to: Lsn,
) -> Result<Kept> {
    let mut walker = Walker::new(Arc::clone(storage), segment.header, limit);
    let mut cut = Cut {
        at: walker.position(),
        chain: walker.chain(),
    };
    while cut.at.lsn < to {
        match walker.next()? {
            Found::Frame(frame) if frame.header.end() > to => {
                let records = frame.into_records();
                let records = records.take_while(|(lsn, _)| *lsn < to);
                let records = records.map(|(_, payload)| payload).collect();
                return Ok(Kept { cut, records });
            }
            Found::Frame(_) => {
                cut = Cut {
                    at: walker.position(),
                    chain: walker.chain(),
                };
            }
            Found::Nothing(reason) => {
                return Err(Error::Lost {
                    lost: cut.at.lsn..to,
                    at: cut.at,
                    reason: reason.into(),
                });
            }
        }
    }
    let records = Vec::new();
    Ok(Kept { cut, records })
}

impl Kept {
    /// The segment behind which nothing is kept.
    pub(crate) fn last_segment(&self) -> crate::SegmentId {
        self.cut.at.segment
    }

    /// The LSN of the cut, and the chain value there.
    pub(crate) fn receipt(&self) -> (Lsn, u64) {
        (self.cut.at.lsn, self.cut.chain)
    }

    /// Lets the committer go on from the cut; the write that makes it so.
    pub(crate) fn apply(self, committer: &mut Committer, to: Lsn) -> crate::committer::Write {
        committer.truncate(self.cut, to);
        if self.records.is_empty() || planted("truncation-drops-the-whole-frame") {
            return committer.mark(Kind::Mark, Sync::Yes, now_micros());
        }
        let lengths = self.records.iter();
        let lengths = lengths.map(|record| u32::try_from(record.len()).unwrap_or(u32::MAX));
        let lengths = lengths.collect();
        let group = Group::of(self.records.into(), lengths, true);
        committer.records(group, true, now_micros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_learns_the_lowest_truncation_that_it_missed() {
        let mut truncations = Truncations::default();
        for to in [50, 30, 40] {
            truncations.add(Lsn::new(to));
        }
        assert_eq!(truncations.since(0), Some(Lsn::new(30)));
        assert_eq!(truncations.since(2), Some(Lsn::new(40)));
        assert_eq!(truncations.since(3), None);
    }

    #[test]
    fn memory_of_truncations_is_bounded_and_errs_on_the_safe_side() {
        let mut truncations = Truncations::default();
        for to in 0..5_000 {
            truncations.add(Lsn::new(to));
        }
        assert!(truncations.lowest.len() <= REMEMBERED);
        assert!(truncations.since(3).unwrap() <= Lsn::new(3));
        assert_eq!(truncations.since(4_999), Some(Lsn::new(4_999)));
    }
}
