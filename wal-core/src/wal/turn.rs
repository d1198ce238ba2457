//! A caller's turn to drive.
//!
//! Who drives is a question of how many call (docs/SPEED.md has the measurements):
//!
//! - One alone drives for itself: no other thread has to be woken.
//! - Of a few, who comes first while another drives becomes the *heir*: it waits for the right to drive.
//!   Where the next frame waits for a reunion, whoever completes that drives in the heir's place.
//! - For a *crowd* the committer thread drives. Nobody has to be woken to write the next frame, and
//!   while it wakes those of the last one, nearly all come back and meet in the next.

use std::ops::RangeInclusive;

use crate::Lsn;
use crate::planted::planted;
use crate::shared::{Shared, State, Taken};
use crate::sync::MutexGuard;

/// So many callers that each wait are a crowd. To wake more takes so long that the next frame had better
/// be written meanwhile, which an heir does.
pub(crate) const CROWD: RangeInclusive<usize> = match cfg!(wal_shuttle) {
    false => 8..=192,
    true => 3..=192, // the models have few threads
};

/// Drives the log until `own` is durable, if it is this caller's turn; else somebody else does.
pub(super) fn drive_or_join<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>, own: &Taken) {
    let until = own.lsns.end;
    if state.heir.is_none() {
        if state.crowd {
            if state.driver.is_some() && !planted("crowd-wakes-nobody") {
                shared.work.notify_one();
            }
            return;
        }
        state = inherit(shared, state, until);
        if state.heir != Some(until) {
            return;
        }
        state.heir = None;
    } else if let Some((all, _)) = state.reunion {
        if state.next < all {
            return;
        }
        state.heir = None;
    }
    let Some(driver) = state.driver.take() else {
        return;
    };
    state.reunion = None;
    drop(state);
    let driven = driver.run(shared, Some(own));
    let state = driven.state;
    let synced = state.sync_to <= shared.durable();
    let quiet = state.queue.is_empty() && state.timed && synced && !state.flight_woken;
    if !quiet || state.closing || state.heir.is_some() || !state.requests.is_empty() {
        shared.hand_over(&state);
    }
    drop(state);
    shared.wake(driven.due);
}

/// Waits, as the heir, for the right to drive, and for the reunion if there is to be one. Still the heir
/// afterwards, unless another one drives or nothing is left to do.
fn inherit<'a>(
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    until: Lsn,
) -> MutexGuard<'a, State> {
    state.heir = Some(until);
    let over =
        |state: &State| shared.durable() >= until || state.next < until || state.failure.is_some();
    while state.heir == Some(until) && !over(&state) {
        match state.reunion {
            _ if state.driver.is_none() => shared.turn.wait(&mut state),
            Some((all, deadline)) if state.next < all && !state.closing => {
                if shared.turn.wait_until(&mut state, deadline).timed_out() {
                    state.reunion = None;
                    if let Some(driver) = &mut state.driver {
                        driver.let_down();
                    }
                }
            }
            _ => return state,
        }
    }
    if state.heir == Some(until) {
        state.heir = None;
        if state.driver.is_some() && !planted("heir-leaves-without-a-word") {
            shared.hand_over(&state);
        }
    }
    state
}
