//! What is known of the segments, and what keeps them from being deleted.

use super::{Shared, State};
use crate::layout;
use crate::segments::{Known, SegmentInfo};
use crate::{Lsn, Result, SegmentId};

impl Shared {
    /// The segment that holds `lsn`, or the one that will.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Result<Option<SegmentInfo>> {
        let known = {
            let state = self.state.lock();
            let known = state.segments.of(lsn);
            if let Some(info) = known.and_then(Known::info) {
                return Ok(Some(info));
            }
            known.cloned()
        };
        known.map(|known| self.info(&known)).transpose()
    }

    /// What is known of a segment, and of the one after it.
    pub(crate) fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> Result<(Option<SegmentInfo>, Option<SegmentInfo>)> {
        let (here, after) = {
            let state = self.state.lock();
            let (here, after) = (state.segments.get(id), state.segments.after(id));
            let was_read = |known: &Known| known.info.is_some();
            if here.is_none_or(was_read) && after.is_none_or(was_read) {
                return Ok((here.and_then(Known::info), after.and_then(Known::info)));
            }
            (here.cloned(), after.cloned())
        };
        let here = here.map(|known| self.info(&known)).transpose()?;
        let after = after.map(|known| self.info(&known)).transpose()?;
        Ok((here, after))
    }

    /// The segment's header; read now if it has not been, and checked against its neighbours.
    pub(crate) fn info(&self, known: &Known) -> Result<SegmentInfo> {
        if let Some(info) = &known.info {
            return Ok(**info);
        }
        let info = layout::load(&self.storage, known, self.log)?;
        let mut state = self.state.lock();
        let segments = &mut state.segments;
        let before = segments.before(known.id).map(|before| before.id);
        if before.is_some_and(|before| before != info.header.previous) {
            return Err(layout::lost_before(&info.header, "the segment is missing"));
        }
        if let Some(known) = segments.get_mut(known.id) {
            known.info.get_or_insert_with(|| Box::new(info));
        }
        Ok(info)
    }

    pub(crate) fn move_hold(&self, from: Lsn, to: Lsn) {
        let mut state = self.state.lock();
        state.retention.hold(to);
        self.unhold(&mut state, from);
    }

    pub(crate) fn drop_hold(&self, from: Lsn) {
        self.unhold(&mut self.state.lock(), from);
    }

    /// Wakes the committer thread only if that lets something go: a reader moves its hold with
    /// every frame, and would wake it each time for nothing.
    fn unhold(&self, state: &mut State, from: Lsn) {
        let floor = state.retention.floor();
        state.retention.unhold(from);
        if state.retention.floor() > floor {
            self.work.notify_one();
        }
    }
}
