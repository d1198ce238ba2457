//! The harness: what a write-ahead log costs on this machine, and what it saves.

// Nothing that input, disk or network can reach may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod arm;
mod bucket;
mod cli;
mod compare;
mod environment;
mod failure;
mod identity;
mod input;
mod kafka;
mod measure;
mod memory;
mod report;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Compare(options) => compare::run(&options).inspect_err(|failure| {
            compare::tell(&format!("error: {failure}"));
        }),
        // The parent hears of it and tells.
        Command::Arm => arm::child_main(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ExitCode::from(failure.exit_code()),
    }
}
