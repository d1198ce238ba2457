//! What the outcome of a write means, and who is told.

use std::task::{Context, Poll};
use std::time::Instant;

use super::{Driver, RETRY_FULL, Started};
use crate::bells::Ring;
use crate::committer::{Begun, Write};
use crate::frame::Kind;
use crate::planted::planted;
use crate::segments::{Known, SegmentInfo};
use crate::shared::{Shared, State, Wake};
use crate::storage::Sync;
use crate::wal::CROWD;
use crate::{Error, StorageError};

impl Driver {
    /// No space, and nothing was stored of this write (G7): what is queued is cancelled, and
    /// the log goes on as if it had not been appended.
    pub(super) fn full(&mut self, shared: &Shared, write: &Write, cause: StorageError) {
        if shared.storage.limits().in_flight > 1 {
            return shared.poison(cause); // others may have gone past it
        }
        if !planted("full-keeps-its-position") {
            self.committer.revert(write);
        }
        match write.kind {
            Kind::Records => {
                self.groups.pop_back();
                let wake = {
                    let mut state = shared.state.lock();
                    shared.cancel(&mut state, write.at.lsn, Error::Full(cause))
                };
                shared.wake(wake);
            }
            // Its space was set aside when the segment was begun; where that means nothing, or an
            // earlier writer left the segment, the log goes on without.
            Kind::Seal => {
                self.committer.skip_seal();
                self.publish(shared);
            }
            // Only a mark: it is tried again.
            _ => self.full_until = Some(Instant::now() + RETRY_FULL),
        }
    }

    pub(super) fn poll_flights(&mut self, shared: &Shared) {
        let mut done = Vec::new();
        let mut context = Context::from_waker(&self.waker);
        self.flights
            .retain_mut(|flight| match flight.future.as_mut().poll(&mut context) {
                Poll::Ready(result) => {
                    done.push((flight.write.take(), result));
                    false
                }
                Poll::Pending => true,
            });
        for (write, result) in done {
            if let Some(write) = write {
                self.finish(shared, write, result);
            }
        }
    }

    pub(super) fn finish(
        &mut self,
        shared: &Shared,
        write: Started,
        result: Result<(), StorageError>,
    ) {
        match result {
            Ok(()) => {
                self.committer.stored(write.id);
                self.pace.finished(write.at.elapsed());
                self.unsynced_bytes += write.stored_bytes;
                // The first frame of a segment is synced in any log, and attested by the next.
                if write.sync == Sync::Yes && write.begins.is_none() {
                    self.all_synced();
                }
                self.early.push(write);
                self.publish(shared);
            }
            Err(_) if planted("failed-write-ignored") => self.committer.stored(write.id),
            Err(cause) => shared.poison(cause),
        }
    }

    /// What is stored without a hole before it, in the order in which it was begun.
    pub(super) fn in_order(&mut self) -> Vec<Started> {
        let before = self.committer.stored_before();
        let due = |write: &mut Started| write.id < before;
        let mut stored: Vec<Started> = self.early.extract_if(.., due).collect();
        stored.sort_by_key(|write| write.id);
        stored
    }

    /// Tells how far the log is. Who waited for it is woken by whoever drives, when it has left
    /// the lock: a caller that has reached its own LSN hands over first.
    pub(super) fn publish(&mut self, shared: &Shared) {
        let stored = self.in_order();
        let durable = self.committer.durable();
        let (mut ring, mut callers) = (Ring::default(), 0);
        while let Some(group) = self.groups.pop_front_if(|group| group.end <= durable) {
            callers += group.durable;
            if !group.alone {
                ring.add(group.number);
            }
        }
        let wakers = {
            let mut state = shared.state.lock();
            if callers > 0 {
                state.crowd = CROWD.contains(&(callers + state.queue.len()));
            }
            for write in stored {
                note_stored(&mut state, write);
            }
            let (receipt, before) = (self.committer.receipt(), shared.durable());
            let acknowledged = receipt.0.get().saturating_sub(before.get());
            if acknowledged > 0 {
                let (now, company) = (Instant::now(), state.next.plus(acknowledged));
                self.pace.woke(now, company);
                let waiting = state.next.get().saturating_sub(receipt.0.get());
                let usual = self.pace.usual();
                self.reunion
                    .woke(now, (acknowledged, waiting), state.next, usual);
            }
            shared.advance(&mut state, self.committer.written(), receipt)
        };
        self.due.add(Wake::new(wakers, ring));
    }
}

impl Started {
    pub(super) fn new(write: Write, at: Instant) -> Self {
        Started {
            id: write.id,
            at,
            sync: write.sync,
            kind: write.kind,
            begins: write.begins,
            segment: write.at.segment,
            end_offset: write.end_offset,
            stored_bytes: write.stored_bytes,
        }
    }
}

fn note_stored(state: &mut State, write: Started) {
    state.stats.frames += 1;
    state.stats.stored_bytes += write.stored_bytes;
    state.stats.syncs += u64::from(write.sync == Sync::Yes);
    if let Some(Begun { header, index }) = write.begins {
        let end = write.end_offset;
        let mut known = Known::read(SegmentInfo { header, end });
        known.index = Some(index);
        state.segments.push(known);
    }
    let found = state.segments.get_mut(write.segment);
    // A seal ends no segment: the log goes on from the place before it.
    if write.kind != Kind::Seal
        && let Some(info) = found.and_then(|known| known.info.as_mut())
    {
        info.end = info.end.max(write.end_offset);
    }
}
