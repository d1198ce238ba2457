//! The two tables for people: what each arm costs, what it loses.

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::arm::{ArmReport, Crash};
use crate::measure::{Spread, digits, exact, thousands};

/// What each arm costs.
pub(super) fn prices(arms: &[ArmReport]) -> Table {
    let mut table = new_table(&[
        "arm",
        "records/s",
        "MB/s",
        "acknowledged after, ms\np50 / p99 / p99.9",
        "CPU s\nper GiB",
        "stored per\nbyte received",
        "peak\nMiB",
        "requests\nper GiB",
        "dollars\nper GiB",
    ]);
    for arm in arms {
        let mut row = vec![Cell::new(arm.arm)];
        match &arm.throughput {
            None => row.push(Cell::new(NOT_RUN)),
            Some(throughput) => row.extend([
                spread(Some(throughput.records_per_second)),
                spread(Some(throughput.megabytes_per_second)),
                right(latency(arm)),
                spread(arm.cpu_seconds_per_gib),
                right(stored(arm)),
                right(arm.peak_memory_bytes.map_or_else(not_measured, mib)),
                right(of_store(arm.requests_per_gib)),
                right(of_store(arm.dollars_per_gib)),
            ]),
        }
        table.add_row(row);
    }
    table
}

/// What each arm lost and repeated.
pub(super) fn crashes(arms: &[ArmReport]) -> Table {
    let mut table = new_table(&["arm", "killed by", "kills", "lost", "repeated"]);
    for arm in arms {
        if arm.crash.kills == 0 {
            table.add_row(vec![Cell::new(arm.arm), Cell::new(NOT_RUN)]);
            continue;
        }
        table.add_row(crash_row(arm, "SIGKILL", arm.crash));
        if let Some(cut) = arm.power_cut {
            table.add_row(crash_row(arm, "power cut", cut));
        }
    }
    table
}

fn crash_row(arm: &ArmReport, by: &str, crash: Crash) -> Vec<Cell> {
    let counts = [crash.kills, crash.lost, crash.repeated];
    let mut row = vec![Cell::new(arm.arm), Cell::new(by)];
    row.extend(counts.map(|count| right(thousands(exact(count)))));
    row
}

/// The reason stands below the tables.
const NOT_RUN: &str = "not run";

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header.iter().map(Cell::new));
    table
}

fn not_measured() -> String {
    "not measured".into()
}

fn spread(spread: Option<Spread>) -> Cell {
    right(
        spread.map_or_else(not_measured, |Spread { median, min, max }| {
            format!("{}\n{}..{}", digits(median), digits(min), digits(max))
        }),
    )
}

/// Only one arm asks an object store.
fn of_store(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".into(), |spread| digits(spread.median))
}

fn latency(arm: &ArmReport) -> String {
    arm.latency_ms.map_or_else(not_measured, |latency| {
        let parts = [latency.p50, latency.p99, latency.p999].map(digits);
        parts.join(" / ")
    })
}

fn stored(arm: &ArmReport) -> String {
    arm.stored_per_received
        .map_or_else(not_measured, |stored| digits(stored.median))
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn mib(bytes: u64) -> String {
    digits(exact(bytes >> 10) / 1024.0)
}
