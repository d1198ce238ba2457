//! `peers`: wal-core and wal-fs beside the best published write-ahead logs of Rust and beside
//! the floor of the hardware, in one run, at one durability: durable appends of threads and of
//! async tasks, rotation, bulk, replay, random reads, and opening in three states.

mod aligned;
mod candidate;
mod cases;
mod device;
mod floor;
mod killed;
mod measure;
mod memory;
mod peers;
mod queue;
mod report;
mod tasks;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::candidate::{Peer, Setup};
use crate::cases::{Amount, Case, Work};
use crate::report::{Outcome, Report, Samples};

const EXAMPLES: &str = "Examples:
  peers                                        everything, five rounds
  peers --quick                                to see that it works; no figures
  peers --cases threads-64,threads-256 --rounds 9
  peers --logs wal-core,okaywal --cases durable-1k --json out.json
  peers --cases reopen,reopen-many,reopen-killed
  peers --verify                               who acknowledges before it syncs? (needs strace)";

/// So much more memory than is written a sample finds ready: for page cache and queues.
const MEMORY_BESIDE: u64 = 512 << 20;

/// Measures write-ahead logs beside each other and beside the floor of the hardware.
///
/// Every log is measured once per round, in turn; ratios are taken within a round. Beside the
/// value stand latencies, syncs, CPU time, and what reached the block device. Tables go to
/// standard output, progress to standard error. The directory decides what is measured: use the
/// disk that matters, and leave the machine alone meanwhile.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_name = "N")]
    rounds: usize,
    /// Short measurements of small logs: to see that it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// Only these cases (comma-separated).
    #[arg(long, value_delimiter = ',', value_name = "CASES", value_parser = names(cases::ALL.iter().map(|case| case.name)))]
    cases: Vec<String>,
    /// Only these logs (comma-separated); the floors take part as well.
    #[arg(long, value_delimiter = ',', value_name = "LOGS", value_parser = names(peers::ALL.iter().map(|peer| peer.name)))]
    logs: Vec<String>,
    /// Leave the floors out, as for a profile of one log.
    #[arg(long)]
    alone: bool,
    /// Where the logs are written; a fresh directory in there is removed at the end.
    /// Default: beside this program.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also write every value of every round to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Do not measure; check with strace that what is acknowledged was synced and is found again.
    #[arg(long)]
    verify: bool,
    /// Also measure memory: one more sample of each log in each case, in a process of its own.
    #[arg(long)]
    memory: bool,
    #[arg(long, hide = true)]
    child_case: Option<String>,
    #[arg(long, hide = true)]
    child: Option<String>,
    #[arg(long, hide = true, default_value_t = 1)]
    child_threads: usize,
    #[arg(long, hide = true)]
    child_rotates: bool,
    #[arg(long, hide = true)]
    child_bytes: Option<u64>,
}

fn names(names: impl Iterator<Item = &'static str>) -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(names.collect::<Vec<_>>())
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let (Some(name), Some(dir)) = (&cli.child, &cli.dir) {
        if let Some(case) = &cli.child_case {
            return memory::child(case, name, dir, amount(&cli));
        }
        return match cli.child_bytes {
            Some(bytes) => killed::child(name, bytes, dir),
            None => verify::child(name, cli.child_threads, cli.child_rotates, dir),
        };
    }
    ensure!(cli.rounds > 0, "at least one round");
    let program = std::env::current_exe()?;
    let beside = program.parent().context("this program lies nowhere")?;
    let parent = cli.dir.as_deref().unwrap_or(beside);
    let fresh = tempfile::Builder::new().prefix("peers-").tempdir_in(parent);
    let fresh = fresh.with_context(|| format!("creating a directory in {}", parent.display()))?;
    if cli.verify {
        return verify::verify(&fresh.path().canonicalize()?);
    }
    let report = measure_all(&cli, fresh.path())?;
    if let Some(file) = &cli.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(fresh.close()?)
}

fn amount(cli: &Cli) -> &'static Amount {
    if cli.quick {
        &cases::QUICK
    } else {
        &cases::FULL
    }
}

fn measure_all(cli: &Cli, dir: &Path) -> Result<Report> {
    let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let logs: Vec<&Peer> = peers::ALL
        .iter()
        .filter(|peer| match peers::is_floor(peer.name) {
            true => !cli.alone,
            false => wanted(&cli.logs, peer.name),
        })
        .collect();
    let mut report = Report {
        environment: environment(dir),
        versions: logs
            .iter()
            .map(|peer| (peer.name, candidate::version(peer.name)))
            .filter(|(_, version)| *version != "-")
            .collect(),
        rounds: cli.rounds,
        quick: cli.quick,
        cases: Vec::new(),
    };
    for (what, value) in &report.environment {
        println!("{what}: {value}");
    }
    for (name, version) in &report.versions {
        println!("{name} {version}");
    }
    if cli.quick {
        println!("--quick: to see that it works, not for figures");
    }
    for peer in &logs {
        if let Err(reason) = peer.durable {
            println!("not durable, not ranked: {}: {reason}", peer.name);
        }
    }
    for case in cases::ALL
        .iter()
        .filter(|case| wanted(&cli.cases, case.name))
    {
        let outcome = measure_case(case, &logs, dir, cli)?;
        outcome.print();
        report.cases.push(outcome);
    }
    if !cli.alone {
        println!("\n* the floor that the others are compared with");
    }
    println!(
        "CPU s/GiB: of the whole process, warm-up included; in replay with opening\n\
         device B/B: bytes that reached the block device per byte of payload, zeroing ahead and \
         the file system's journal included; other writers on the device count, too\n\
         MiB: by which the resident memory of a process grew at most that took one sample of \
         this log alone (--memory); the floors' rows show what the harness itself needs"
    );
    Ok(report)
}

/// Measures every log once per round, beginning with another one each time.
fn measure_case(case: &Case, logs: &[&'static Peer], dir: &Path, cli: &Cli) -> Result<Outcome> {
    let (amount, rounds) = (amount(cli), cli.rounds);
    let kept = case.work.prepared();
    let mut left_out = Vec::new();
    let mut running: Vec<(&Peer, Samples)> = Vec::new();
    for peer in logs.iter().filter(|peer| peer.durable.is_ok()) {
        if !peers::takes_part(peer.name, case.work) {
            continue;
        }
        if let Some(size) = kept {
            eprintln!("{}: preparing {}", case.name, peer.name);
            let prepared = measure::prepare(peer, &fresh(dir, peer, case, amount)?, size);
            if let Err(error) = prepared {
                left_out.push((peer.name, format!("{error:#}")));
                continue;
            }
        }
        let (note, ranked) = match case.work {
            Work::Bulk { .. } => (peer.bulk, true),
            Work::Rotation { .. } => (peer.names.err().unwrap_or(""), peer.names.is_ok()),
            _ => ("", true),
        };
        let samples = Samples {
            name: peer.name,
            note,
            ranked,
            rounds: Vec::with_capacity(rounds),
            memory: None,
        };
        running.push((peer, samples));
    }
    for round in 0..rounds {
        let count = running.len().max(1);
        let order: Vec<usize> = (0..running.len()).map(|i| (i + round) % count).collect();
        let mut failed = Vec::new();
        for index in order {
            let (peer, samples) = &mut running[index];
            let setup = match kept {
                Some(_) => measure::setup(&place(dir, peer), case.work, amount),
                None => fresh(dir, peer, case, amount)?,
            };
            device::make_memory_ready(setup.bytes + MEMORY_BESIDE);
            match measure::sample(peer, &setup, case.work, amount) {
                Ok(sample) => {
                    let (value, unit) = (sample.value, case.unit());
                    let round = round + 1;
                    eprintln!(
                        "{} {round}/{rounds}: {} {value:.2} {unit}",
                        case.name, peer.name
                    );
                    samples.rounds.push(sample);
                }
                Err(error) => failed.push((index, format!("{error:#}"))),
            }
            if kept.is_none() {
                std::fs::remove_dir_all(&setup.dir)?;
            }
        }
        failed.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        for (index, error) in failed {
            let (peer, _) = running.remove(index);
            left_out.push((peer.name, error));
        }
    }
    for (peer, samples) in running.iter_mut().filter(|_| cli.memory) {
        eprintln!("{}: memory of {}", case.name, peer.name);
        let place = place(dir, peer);
        if kept.is_none() {
            std::fs::create_dir(&place)?;
        }
        // Whoever fails here has its figures, but for this one.
        samples.memory = memory::of(case, peer, &place, cli.quick).ok();
        if kept.is_none() {
            std::fs::remove_dir_all(&place)?;
        }
    }
    if kept.is_some() {
        for peer in logs {
            let place = place(dir, peer);
            if place.try_exists()? {
                std::fs::remove_dir_all(place)?;
            }
        }
    }
    let samples = running.into_iter().map(|(_, samples)| samples).collect();
    Ok(Outcome::new(case, samples, left_out))
}

fn place(dir: &Path, peer: &Peer) -> PathBuf {
    dir.join(peer.name)
}

fn fresh(dir: &Path, peer: &Peer, case: &Case, amount: &Amount) -> Result<Setup> {
    let place = place(dir, peer);
    std::fs::create_dir(&place)?;
    Ok(measure::setup(&place, case.work, amount))
}

/// What the figures depend on.
fn environment(dir: &Path) -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |model| model.trim_start_matches([' ', '\t', ':']));
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let mounts = read("/proc/mounts");
    let mount = mounts
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|at| dir.starts_with(at)))
        .max_by_key(|line| line.split(' ').nth(1).map_or(0, str::len));
    let mount = mount.map_or(String::new(), |mount| {
        mount
            .split(' ')
            .skip(2)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    });
    vec![
        ("processor", format!("{count} x {model}")),
        (
            "kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("file system", mount),
        ("load before", read("/proc/loadavg").trim().to_owned()),
    ]
}
