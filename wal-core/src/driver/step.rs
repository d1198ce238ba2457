//! What whoever drives does next.

use std::sync::Arc;
use std::time::Instant;

use super::{Driver, LAZY, LAZY_BYTES, RELEASE_WAIT, Step, UnderWay, now_micros};
use crate::Lsn;
use crate::frame::Kind;
use crate::generation::Generation;
use crate::planted::{planted, planted_or};
use crate::shared::{Shared, State};
use crate::storage::Sync;

impl Driver {
    pub(super) fn next_step(&mut self, shared: &Shared, state: &mut State) -> Step {
        self.keep_cap(shared, state);
        self.committer.release(state.retention.floor());
        let released = self.committer.released_durably();
        let released = planted_or(
            "deleted-before-the-release-is-noted",
            state.retention.floor(),
            released,
        );
        // A segment is sealed before it is deleted: a seal must not bring it back.
        if !self.committer.is_unsealed()
            && let Some(before) = self.deletable(state, released)
        {
            return Step::Delete(before);
        }
        if !state.requests.is_empty() {
            if self.is_busy() {
                return Step::Await(None);
            }
            if let Some(request) = state.requests.pop_front() {
                return Step::Request(request);
            }
        }
        if self.committer.has_room()
            && let Some(step) = self.next_write(shared, state)
        {
            return step;
        }
        if !self.flights.is_empty() {
            let paced = self.lingers_until(shared, state);
            return Step::Await(paced.filter(|_| self.committer.has_room()));
        }
        // Nothing is under way and nothing is queued that may be written yet.
        let mut release_at = None;
        if state.queue.is_empty() {
            if state.sync_to.max(self.must_sync(state)) > self.committer.durable() {
                return Step::Sync;
            }
            // Deleting waits until the log itself says durably what was released: a head
            // that is missing without such a note is damage (G4).
            self.full_until = self.full_until.filter(|at| *at > Instant::now());
            let wanted = self.deletable(state, state.retention.floor());
            let noted_by = self.active.filter(|_| wanted.is_some() && !state.closing);
            release_at = noted_by.map(|active| active + RELEASE_WAIT);
            release_at = release_at.filter(|at| *at > Instant::now());
            if wanted.is_some() && self.full_until.is_none() && release_at.is_none() {
                let mark = self.committer.mark(Kind::Mark, Sync::Yes, now_micros());
                return Step::Write(Box::new(mark));
            }
            if state.closing && self.deletion.is_some() {
                return Step::Await(None);
            }
            if state.closing {
                return self.close_step();
            }
        }
        let (queued, quiet) = (
            self.lingers_until(shared, state),
            self.quiet_at(shared, state),
        );
        if queued.is_some() && shared.storage.limits().in_flight > 1 {
            return Step::Await(queued); // without being woken by each who comes
        }
        let marks = earliest(quiet, earliest(release_at, self.full_until));
        Step::Idle(earliest(queued, marks))
    }

    /// The next frame, if there is anything to be written now.
    fn next_write(&mut self, shared: &Shared, state: &mut State) -> Option<Step> {
        if let Some(seal) = self.committer.seal(now_micros()) {
            return Some(Step::Write(Box::new(seal)));
        }
        let now = Instant::now();
        if !state.queue.is_empty() && self.lingers_until(shared, state).is_none_or(|at| at <= now) {
            if !self.ready {
                return Some(Step::Prepare);
            }
            let (number, group) = shared.take_group(state);
            self.active = Some(now);
            self.pace.begun(now);
            // A barrier is met by syncing the frame that reaches it, not each on the way.
            let end = self.committer.next().plus(group.records());
            let only = planted_or("who-joined-is-not-woken", true, group.len() == 1);
            let own = |(at, generation): &(Lsn, Arc<Generation>)| {
                let taken_back = !Arc::ptr_eq(generation, &state.generation);
                *at == end && (!taken_back || planted("own-append-known-by-its-lsn"))
            };
            let alone = only && self.own.as_ref().is_some_and(own);
            let durable = group.durable();
            let under_way = UnderWay {
                number,
                end,
                durable,
                alone,
            };
            self.groups.push_back(under_way);
            let sync = state.sync_to > self.committer.durable() && end >= state.sync_to;
            return Some(Step::Records { group, sync });
        }
        if self.quiet_at(shared, state).is_some_and(|at| at <= now) {
            (self.active, self.mark_now) = (None, false);
            let mark = self.committer.mark(Kind::Mark, Sync::No, now_micros());
            return Some(Step::Write(Box::new(mark)));
        }
        None
    }

    /// What must be made durable although no caller waits for it: everything, before closing.
    fn must_sync(&self, state: &State) -> Lsn {
        if state.closing {
            self.committer.written()
        } else {
            Lsn::ZERO
        }
    }

    /// Until when what is queued may wait for company; `None`: it may be written now.
    fn lingers_until(&self, shared: &Shared, state: &State) -> Option<Instant> {
        let (linger, bytes) = if state.durable_queued {
            (shared.options.linger, shared.options.frame_bytes)
        } else {
            (LAZY, LAZY_BYTES.min(shared.options.frame_bytes))
        };
        let hurry = state.hurry
            || state.closing
            || state.sync_to > self.committer.written()
            || state.queued_bytes >= bytes;
        if hurry {
            return None;
        }
        let company = state.queued_since.map(|since| since + linger);
        let company = company.filter(|_| !linger.is_zero());
        let places = shared.storage.limits().in_flight;
        let under_way = !self.flights.is_empty();
        let paced = places > 1 && !state.queue.is_empty();
        let pace = paced.then(|| self.pace.next(state.next, places, under_way));
        company.max(pace.flatten())
    }

    /// When a watermark is due: after a quiet delay, if the log knows more than it has noted.
    fn quiet_at(&self, shared: &Shared, state: &State) -> Option<Instant> {
        let due = self.committer.attested() < self.committer.durable() && state.queue.is_empty();
        let delay = shared.options.watermark_delay.filter(|_| due)?;
        let active = self.active?;
        match self.mark_now {
            true => Some(active),
            false => active.checked_add(delay),
        }
    }

    /// G8: releases what lies beyond the cap, if there is one.
    fn keep_cap(&self, shared: &Shared, state: &mut State) {
        let Some(cap) = shared.options.retain_bytes else {
            return;
        };
        let keep = usize::try_from(cap / shared.options.segment_bytes).unwrap_or(usize::MAX);
        let excess = state.segments.len().saturating_sub(keep.max(2));
        if excess > 0
            && let Some(first) = state.segments.iter().nth(excess).map(|known| known.first)
        {
            state.retention.release(first.min(shared.durable()));
        }
    }

    /// Everything is durable: notes that the log was closed, if this writer wrote at all.
    fn close_step(&mut self) -> Step {
        if self.closed || !self.committer.has_written() {
            self.closed = true;
            return Step::Idle(None);
        }
        self.closed = true;
        Step::Write(Box::new(self.committer.mark(
            Kind::Close,
            Sync::Yes,
            now_micros(),
        )))
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
