//! Checks with `strace` that nobody acknowledges before the data is synced, and that what was
//! acknowledged is found when the log is opened again.
//!
//! A child appends records one by one and writes `ACK` after each. Between two of them the trace
//! must show a file of the log that was written, and then an `fsync` or `fdatasync` of that file
//! which began after the write had ended and ended before the `ACK` (or a write to a file that
//! was opened with `O_DSYNC`). Other writes, such as zeros ahead of use, do not count.
//!
//! Where segments are rotated, the file must also have a durable name: if it was renamed, an `fsync` of
//! its directory that began after the rename had ended must have ended before the `ACK`.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::candidate::{Peer, Setup};
use crate::cases::Work;
use crate::measure::{by_name, record};
use crate::peers::{ALL, is_floor, takes_part};
use trace::Traced;

mod trace;

const APPENDS: u64 = 50;
/// Appends across rotations: about six segments.
const ROTATED: u64 = 3000;
const CALLS: &str = "trace=openat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,\
                     rename,renameat,renameat2";

/// Records of 16 KiB into the segments of the case `rotation`.
const ROTATION: Work = Work::Rotation { size: 16 << 10 };

/// The child: appends, acknowledges, reopens, counts.
pub(crate) fn child(name: &str, threads: usize, rotates: bool, dir: &Path) -> Result<()> {
    let peer = by_name(name)?;
    let setup = Setup {
        dir: dir.to_owned(),
        bytes: 0,
        threads,
        bulk: false,
        kept: !rotates,
        segment: ROTATION.segment().filter(|_| rotates),
    };
    let (appends, size) = if rotates {
        (ROTATED, 16 << 10)
    } else {
        (APPENDS, 1000)
    };
    let mut out = std::io::stdout();
    let log = (peer.open)(&setup)?;
    let record = record(size);
    writeln!(out, "BEGIN")?;
    for _ in 0..appends {
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
        let (traced, found) = trace(peer, threads, false, &dir)?;
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
    broken.extend(verify_names(dir)?);
    ensure!(broken.is_empty(), "marked wrongly in the code: {broken:?}");
    Ok(())
}

/// Whether the names of segments are durable when their records are acknowledged; who says so wrongly. A
/// log that is marked may be lucky.
fn verify_names(dir: &Path) -> Result<Vec<&'static str>> {
    println!("\nacross rotations   acks  synced before  renames  not named before  verdict");
    let mut broken = Vec::new();
    let rotating = ALL.iter().filter(|peer| takes_part(peer.name, ROTATION));
    for peer in rotating.filter(|peer| !is_floor(peer.name)) {
        let dir = dir.join(format!("{}-names", peer.name));
        std::fs::create_dir(&dir)?;
        let (traced, _) = trace(peer, 1, true, &dir)?;
        let synced = traced.acknowledged == ROTATED && traced.synced_before == ROTATED;
        let verdict = match (synced, traced.unnamed) {
            (true, 0) => "durable",
            (true, _) => "NOT durable: acknowledges before the segment's name is synced",
            (false, _) => "NOT durable: acknowledges before it syncs",
        };
        let (
            name,
            Traced {
                acknowledged,
                synced_before,
                renames,
                unnamed,
                ..
            },
        ) = (peer.name, traced);
        println!(
            "{name:<18} {acknowledged:>4}  {synced_before:>13}  {renames:>7}  {unnamed:>16}  {verdict}"
        );
        if !synced || (unnamed > 0 && peer.names.is_ok()) {
            broken.push(peer.name);
        }
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(broken)
}

/// Runs the child under `strace`; `threads` only chooses how the log is opened.
fn trace(peer: &Peer, threads: usize, rotates: bool, dir: &Path) -> Result<(Traced, String)> {
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
        .args(rotates.then_some("--child-rotates"))
        .output()
        .context("strace is needed to verify")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let found = said.lines().find_map(|line| line.strip_prefix("FOUND "));
    let found = found.unwrap_or("died").to_owned();
    let text = std::fs::read_to_string(&file)?;
    Ok((trace::read(&text, &log.to_string_lossy()), found))
}
