//! `compare`: the same records through every arm, side by side.
//!
//! The broker runs in this process (or is a real one), each arm in a child. First come
//! rounds of throughput, one arm after the other in each round, so that a slow minute of
//! the machine hits all alike; then the crash trials.
//!
//! * `workspace`: where the logs go;
//! * `supervise`: starts a child, listens, kills;
//! * `rounds`: throughput, latency, cost;
//! * `trial`: kill, restart, count;
//! * `verify`: what a sink holds, by identity;
//! * `power_cut`: takes from a log what was not synced;
//! * `kill_point`: the seeded count at which an arm is killed;
//! * `ui`: progress on standard error.

mod kill_point;
mod power_cut;
mod rounds;
mod run;
mod supervise;
mod trial;
mod ui;
mod verify;
mod workspace;

pub(crate) use rounds::{ArmRounds, Round};
pub(crate) use run::run;
pub(crate) use trial::{Event, SINK_DELAY_MS, Trial};
pub(crate) use ui::tell;
