//! The receiver's second thread: waits for tickets, in order.

use std::sync::mpsc::{Receiver as Incoming, SyncSender, sync_channel};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use wal_core::planted::planted;

use super::OnPermitted;
use crate::{Error, Positions, Result, Ticket};

/// A block on its way into the store.
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    pub(super) positions: Positions,
    pub(super) stamps: Vec<(Instant, u64)>,
}

/// Hands blocks to the settler, a limited number of them.
pub(super) struct Tickets(SyncSender<InFlight>);

impl Tickets {
    pub(super) fn channel(in_flight: usize) -> (Tickets, Incoming<InFlight>) {
        // One more is in the settler's hands.
        let (sender, incoming) = sync_channel(in_flight.saturating_sub(1));
        (Tickets(sender), incoming)
    }

    /// Waits for room. Whether the settler is still there.
    pub(super) fn send(&self, in_flight: InFlight) -> bool {
        self.0.send(in_flight).is_ok()
    }
}

/// What the settler has found out and the caller's thread has not picked up yet.
#[derive(Default)]
pub(super) struct Settled {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    blocks: u64,
    permitted: Option<Positions>,
    error: Option<Error>,
    ended: bool,
}

impl Settled {
    /// Waits for every ticket in order; ends at the first that fails, because nothing
    /// after it may be acknowledged (S1).
    pub(super) fn settle_all(
        &self,
        tickets: Incoming<InFlight>,
        observer: &mut Option<OnPermitted>,
    ) {
        for in_flight in tickets {
            let outcome = in_flight.ticket.wait();
            if outcome.is_ok()
                && let Some(observer) = observer
            {
                observer(&in_flight.stamps);
            }
            let mut state = self.state.lock();
            match outcome {
                Ok(()) => {
                    state.blocks += 1;
                    state
                        .permitted
                        .get_or_insert_default()
                        .merge(&in_flight.positions);
                }
                Err(_) if planted("failed-block-acknowledged") => {
                    let permitted = state.permitted.get_or_insert_default();
                    permitted.merge(&in_flight.positions);
                }
                Err(error) => {
                    state.error = Some(error);
                    break;
                }
            }
            drop(state);
            self.changed.notify_all();
        }
        self.state.lock().ended = true;
        self.changed.notify_all();
    }

    /// The positions that became permitted since the last call. What was stored before
    /// a failure is handed out first.
    pub(super) fn take(&self) -> Result<Option<Positions>> {
        let mut state = self.state.lock();
        match state.permitted.take() {
            Some(positions) => Ok(Some(positions)),
            None => state.error.take().map_or(Ok(None), Err),
        }
    }

    /// Waits until this many blocks are stored.
    pub(super) fn wait_for(&self, blocks: u64) -> Result<()> {
        let mut state = self.state.lock();
        while state.blocks < blocks && !state.ended {
            self.changed.wait(&mut state);
        }
        Ok(())
    }
}
