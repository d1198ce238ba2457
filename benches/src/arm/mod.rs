//! One arm in a process of its own, so that its time, memory and death are its own.
//!
//! * `spec`: what the parent tells the child, and what the child tells back;
//! * `probe`: counts and paces what passes between source, log and sink;
//! * `child`: reads the specification, runs the arm, dies with the parent;
//! * `direct`, `receiver`: the two modes;
//! * `ledger`, `notes`: note what was synced and what was acknowledged, for a power cut;
//! * `usage`: processor time and memory of this process.

mod child;
mod direct;
mod ledger;
mod notes;
mod probe;
mod receiver;
pub(crate) mod spec;
mod usage;

pub(crate) use child::main as child_main;
#[cfg(test)]
pub(crate) use ledger::Ledger;
pub(crate) use notes::{read_acknowledged, read_synced};
