//! Checks with `strace` that nobody acknowledges before the data is synced, and that what was
//! acknowledged is found when the log is opened again.
//!
//! A child appends records one by one and writes `ACK` after each. Between two of them the trace
//! must show a file of the log that was written, and then an `fsync` or `fdatasync` of that file
//! which began after the write had ended and ended before the `ACK` (or a write to a file that
//! was opened with `O_DSYNC`). Other writes, such as zeros ahead of use, do not count.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::candidate::{Peer, Setup};
use crate::measure::{by_name, record};
use crate::peers::{ALL, is_floor};

const APPENDS: u64 = 50;
const CALLS: &str = "trace=openat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync";

/// What a trace showed.
#[derive(Debug, Default, PartialEq)]
struct Traced {
    acknowledged: u64,
    synced_before: u64,
    syncs: u64,
}

/// The child: appends, acknowledges, reopens, counts.
pub(crate) fn child(name: &str, threads: usize, dir: &Path) -> Result<()> {
    let peer = by_name(name)?;
    let setup = Setup {
        dir: dir.to_owned(),
        bytes: 0,
        threads,
        bulk: false,
        segment: None,
    };
    let mut out = std::io::stdout();
    let log = (peer.open)(&setup)?;
    let record = record(1000);
    writeln!(out, "BEGIN")?;
    for _ in 0..APPENDS {
        log.append(0, &record)?;
        writeln!(out, "ACK")?;
    }
    writeln!(out, "END")?;
    log.close()?;
    let found = (peer.open)(&setup).and_then(|log| log.replay());
    match found {
        Ok(found) => writeln!(out, "FOUND {}", found.records)?,
        Err(error) => writeln!(out, "FOUND none: {error:#}")?,
    }
    Ok(())
}

/// Verifies every log and prints a table; fails if one that is ranked does not hold.
pub(crate) fn verify(dir: &Path) -> Result<()> {
    println!("log                threads  acks  synced before  syncs  found  verdict");
    let mut broken = Vec::new();
    for (number, (peer, threads)) in ALL
        .iter()
        .flat_map(|peer| [(peer, 1), (peer, 2)])
        .enumerate()
    {
        let dir = dir.join(number.to_string());
        std::fs::create_dir(&dir)?;
        let (traced, found) = trace(peer, threads, &dir)?;
        let synced = traced.acknowledged == APPENDS && traced.synced_before == APPENDS;
        // A floor is no log: there is nothing to be found.
        let found = if is_floor(peer.name) { "-" } else { &found };
        let kept = found == "-" || found == APPENDS.to_string();
        let verdict = match (synced, kept) {
            (true, true) => "durable",
            (false, _) => "NOT durable: acknowledges before it syncs",
            (true, false) => "NOT durable: loses what it acknowledged",
        };
        println!(
            "{:<18} {threads:>7}  {:>4}  {:>13}  {:>5}  {found:>5}  {verdict}",
            peer.name, traced.acknowledged, traced.synced_before, traced.syncs
        );
        if (synced && kept) != peer.durable.is_ok() {
            broken.push(peer.name);
        }
    }
    ensure!(broken.is_empty(), "marked wrongly in the code: {broken:?}");
    Ok(())
}

/// Runs the child under `strace`; `threads` only chooses how the log is opened.
fn trace(peer: &Peer, threads: usize, dir: &Path) -> Result<(Traced, String)> {
    let file = dir.join("strace");
    let log = dir.join("data");
    std::fs::create_dir(&log)?;
    let output = Command::new("strace")
        .args(["-f", "-y", "-s", "8", "-e", CALLS, "-o"])
        .arg(&file)
        .arg(std::env::current_exe()?)
        .args([
            "--child",
            peer.name,
            "--child-threads",
            &threads.to_string(),
            "--dir",
        ])
        .arg(&log)
        .output()
        .context("strace is needed to verify")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said.lines().find_map(|line| line.strip_prefix("FOUND "));
    let found = found.unwrap_or("died").to_owned();
    let text = std::fs::read_to_string(&file)?;
    Ok((read_trace(&text, &log.to_string_lossy()), found))
}

/// Reads what `strace -f -y -o` wrote; `log` is the directory of the log.
fn read_trace(text: &str, log: &str) -> Traced {
    let mut traced = Traced::default();
    let mut unfinished: HashMap<&str, (&str, &str, u64)> = HashMap::new();
    let mut dsync = HashSet::new();
    // When the last write ended, and when the last sync that ended had begun, by file.
    let (mut written, mut synced) = (HashMap::new(), HashMap::new());
    let (mut measuring, mut last_ack) = (false, 0);
    for (line, now) in text.lines().zip(1..) {
        let Some((process, call)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let call = call.trim_start();
        let (name, file, begun) = if call.starts_with("<... ") {
            let Some(resumed) = unfinished.remove(process) else {
                continue;
            };
            resumed
        } else {
            let name = call.split('(').next().unwrap_or_default();
            let path = if name == "openat" {
                call.split('"').nth(1)
            } else {
                call.split(['<', '>']).nth(1)
            };
            (name, path.unwrap_or_default(), now)
        };
        if call.ends_with("<unfinished ...>") {
            unfinished.insert(process, (name, file, begun));
            continue;
        }
        let sync = matches!(name, "fsync" | "fdatasync");
        if name == "openat" {
            if call.contains("O_DSYNC") || call.contains("O_SYNC") {
                dsync.insert(file);
            }
        } else if sync && file.starts_with(log) {
            synced.insert(file, begun);
            traced.syncs += u64::from(measuring);
        } else if file.starts_with(log) {
            written.insert(file, now);
            if dsync.contains(file) {
                synced.insert(file, now + 1);
                traced.syncs += u64::from(measuring);
            }
        } else if call.contains("\"BEGIN") || call.contains("\"END") {
            measuring = call.contains("\"BEGIN");
            last_ack = now;
        } else if call.contains("\"ACK") {
            traced.acknowledged += 1;
            let durable = written.iter().any(|(file, at)| {
                *at > last_ack && synced.get(file).is_some_and(|begun| begun > at)
            });
            traced.synced_before += u64::from(durable);
            last_ack = now;
        }
    }
    traced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(lines: &[&str]) -> Traced {
        let lines: Vec<String> = lines.iter().map(|line| format!("7  {line}")).collect();
        read_trace(&lines.join("\n"), "/log")
    }

    #[test]
    fn a_sync_counts_only_between_write_and_acknowledgement() {
        let (begin, ack) = (
            r#"write(1<pipe:[1]>, "BEGIN\n", 6) = 6"#,
            r#"write(1<pipe:[1]>, "ACK\n", 4) = 4"#,
        );
        let (write, sync) = (
            "pwrite64(3</log/a>, \"x\"..., 9, 0) = 9",
            "fdatasync(3</log/a>) = 0",
        );
        let other = "fdatasync(4</log/b>) = 0";
        let all = traced(&[
            begin, write, sync, ack, write, ack, sync, ack, write, other, ack, sync, write, ack,
        ]);
        let wanted = Traced {
            acknowledged: 5,
            synced_before: 1,
            syncs: 4,
        };
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_sync_that_began_before_the_write_ended_does_not_count() {
        let text = "7  write(1<pipe:[1]>, \"BEGIN\\n\", 6) = 6\n\
                    8  fdatasync(3</log/a> <unfinished ...>\n\
                    7  pwrite64(3</log/a>, \"x\"..., 9, 0) = 9\n\
                    8  <... fdatasync resumed>) = 0\n\
                    7  write(1<pipe:[1]>, \"ACK\\n\", 4) = 4\n";
        let wanted = Traced {
            acknowledged: 1,
            synced_before: 0,
            syncs: 1,
        };
        assert_eq!(read_trace(text, "/log"), wanted);
    }

    #[test]
    fn a_write_with_o_dsync_is_its_own_sync() {
        let all = traced(&[
            "openat(AT_FDCWD</>, \"/log/a\", O_RDWR|O_DSYNC|O_DIRECT) = 3</log/a>",
            r#"write(1<pipe:[1]>, "BEGIN\n", 6) = 6"#,
            "pwrite64(3</log/a>, \"x\"..., 4096, 0) = 4096",
            r#"write(1<pipe:[1]>, "ACK\n", 4) = 4"#,
        ]);
        assert_eq!(
            all,
            Traced {
                acknowledged: 1,
                synced_before: 1,
                syncs: 1
            }
        );
    }
}
