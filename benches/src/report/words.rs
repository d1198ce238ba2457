//! What stands above and below the tables: what was measured where, and what it means.

use super::arm::ArmReport;
use super::{Report, table};
use crate::arm::spec::Arm;
use crate::compare::{Event, SINK_DELAY_MS};
use crate::measure::{digits, exact, thousands};
use crate::memory::SLOW;

/// The whole report, as text.
pub(super) fn text(report: &Report) -> String {
    let mut lines = vec![String::new()];
    lines.extend(heading(report));
    lines.push("\nPrice: median over rounds, and min..max".into());
    lines.push(table::prices(&report.arms).to_string());
    lines.extend(about_price(report));
    lines.push("\nCrash trials, counted at the sink by identity, over all kills".into());
    lines.push(table::crashes(&report.arms).to_string());
    lines.extend(about_crashes(report));
    let reasons = report.arms.iter().filter_map(|arm| arm.not_run.as_deref());
    lines.extend(reasons.map(|why| format!("Not run: {why}")));
    lines.push(String::new());
    lines.join("\n")
}

fn heading(report: &Report) -> Vec<String> {
    let (machine, input) = (&report.environment, &report.input);
    let memory = machine.memory_bytes.map_or_else(
        || "unknown".into(),
        |bytes| digits(exact(bytes >> 20) / 1024.0) + " GiB",
    );
    let mut lines = vec![
        format!(
            "{} records, {} MB, {} partitions, from {}",
            thousands(exact(input.records)),
            thousands(exact(input.bytes) / 1e6),
            input.partitions,
            input.source
        ),
        format!(
            "{}, {} cores, {memory} memory, {}; logs on {}",
            machine.cpu, machine.cores, machine.kernel, machine.file_system
        ),
        format!("broker: {}", machine.broker),
        format!(
            "wal-benches {}, {}, {}",
            machine.version, machine.profile, machine.rustc
        ),
    ];
    lines.extend(machine.page_micros.filter(|micros| *micros > SLOW).map(|micros| {
        format!(
            "Memory comes slowly here: {} us a page when first touched; arms with a log depend on that.",
            digits(micros)
        )
    }));
    lines
}

fn about_price(report: &Report) -> Vec<String> {
    let cadence = &report.cadence;
    let mut lines = vec![
        format!(
            "All arms: blocks of up to {} records or {} KiB, batches of about {} records, commits every {} ms.",
            thousands(exact(cadence.block_records)),
            cadence.block_bytes >> 10,
            thousands(exact(cadence.batch_records)),
            cadence.commit_interval_ms
        ),
        "Records/s, MB/s: from the first record received to the last batch done, into a sink that only counts.".into(),
        "Acknowledged: from receipt by the client until the source may be told (direct: until the batch is done).".into(),
        "CPU, peak memory: of the arm's own process. Stored: what log and checkpoint gave to the file system.".into(),
    ];
    if report.arms.iter().any(|arm| arm.kind == Arm::Bucket) {
        lines.push(format!("Bucket: {}.", report.environment.bucket));
        lines.push("Requests, dollars: of the object store, at its list price for requests (of S3 for a URL).".into());
    }
    lines
}

fn about_crashes(report: &Report) -> Vec<String> {
    let any = |event: Event| report.trials.iter().any(|trial| trial.event == event);
    let mut lines = vec!["What its acknowledgements survive:".to_owned()];
    let survives = |arm: &ArmReport| format!("  {}: {}", arm.arm, arm.survives);
    lines.extend(report.arms.iter().map(survives));
    if report.trials.is_empty() {
        lines.push("No arm was killed.".into());
        return lines;
    }
    lines.push(format!(
        "Until it is killed, an arm writes to a sink of files that takes {SINK_DELAY_MS} ms longer for each batch."
    ));
    lines.extend(about_rejoin(report));
    if any(Event::PowerCut) {
        lines.push(
            "Power cut: after the kill, what no finished sync covered was taken from the log, and the source was made to\n\
             forget what had been acknowledged, as a queue does. Kafka keeps its records: there, a restart reads them\n\
             again from the position that the log holds."
                .into(),
        );
    }
    lines.extend(report.arms.iter().flat_map(luck));
    lines
}

fn about_rejoin(report: &Report) -> Option<String> {
    let rejoin = report
        .trials
        .iter()
        .find(|trial| trial.event == Event::KillAndRejoin)?;
    Some(format!(
        "Restarted in its own group, {} waited {} s for its first record: the broker first waits for the dead\n\
         member's session ({} s) to end. The other trials restart in a fresh group that starts where the killed one had committed.",
        rejoin.arm.label(),
        digits(rejoin.restart_seconds),
        digits(exact(report.cadence.session_timeout_ms) / 1e3)
    ))
}

/// No loss where loss is possible proves nothing.
fn luck(arm: &ArmReport) -> Option<String> {
    let unlogged = !arm.kind.promises() && arm.crash.kills > 0 && arm.crash.lost == 0;
    let unsynced = arm.power_cut.is_some_and(|cut| cut.lost == 0);
    (unlogged || unsynced).then(|| {
        format!(
            "{} lost nothing this time: luck, not a promise; try more --kills or --records.",
            arm.arm
        )
    })
}
