//! The thread that drives when no caller does.

use std::sync::{Arc, Weak};

use crate::shared::Shared;

/// Wakes whoever drives when a write under way has something to say.
pub(super) struct FlightWaker(pub(super) Weak<Shared>);

impl std::task::Wake for FlightWaker {
    fn wake(self: Arc<Self>) {
        if let Some(shared) = self.0.upgrade() {
            shared.state.lock().flight_woken = true;
            shared.work.notify_all();
        }
    }
}

/// The committer thread: drives whenever nobody else does and there is something to do.
pub(crate) fn committer_thread(shared: &Shared) {
    let mut state = shared.state.lock();
    loop {
        let driver = match state.driver.take() {
            // A caller waits for its turn; it tells us if work is left.
            Some(driver) if state.heir.is_some() && !state.closing => {
                state.driver = Some(driver);
                shared.turn.notify_all();
                None
            }
            driver => driver,
        };
        let Some(driver) = driver else {
            state.timed = false;
            shared.work.wait(&mut state);
            continue;
        };
        state.reunion = None;
        drop(state);
        let driven = driver.run(shared, None);
        state = driven.state;
        if state.closed || (state.failure.is_some() && state.closing) {
            let woken = shared.everyone(&mut state);
            drop(state);
            shared.wake(driven.due);
            shared.wake(woken);
            return;
        }
        if !driven.due.is_empty() {
            drop(state);
            shared.wake(driven.due);
            state = shared.state.lock();
            continue; // work may have come meanwhile
        }
        if state.heir.is_some() && !state.closing {
            continue;
        }
        state.timed = driven.deadline.is_some();
        match driven.deadline {
            Some(deadline) => {
                shared.work.wait_until(&mut state, deadline);
            }
            None => shared.work.wait(&mut state),
        }
    }
}
