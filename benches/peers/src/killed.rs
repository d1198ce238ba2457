//! A log whose process was killed: a child writes and syncs it, the parent kills the child.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::candidate::{Peer, Setup};
use crate::measure::{by_name, record};

/// Bytes of each record.
const RECORD: usize = 1 << 10;

/// The child: writes, syncs, says so, and waits for its end.
pub(crate) fn child(name: &str, bytes: u64, dir: &Path) -> Result<()> {
    let setup = Setup {
        dir: dir.to_owned(),
        bytes,
        threads: 1,
        bulk: true,
        kept: true,
        segment: None,
    };
    let log = (by_name(name)?.open)(&setup)?;
    log.append_many(&record(RECORD), bytes / RECORD as u64)?;
    log.sync()?;
    writeln!(std::io::stdout(), "SYNCED")?;
    std::thread::sleep(Duration::from_secs(60)); // never dropped in time
    Ok(())
}

/// Leaves the log of a killed process behind.
pub(crate) fn leave(peer: &Peer, setup: &Setup) -> Result<()> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--child", peer.name])
        .args(["--child-bytes", &setup.bytes.to_string()])
        .arg("--dir")
        .arg(&setup.dir)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said)?;
    }
    child.kill()?;
    child.wait()?;
    ensure!(said.trim() == "SYNCED", "the child that writes it failed");
    Ok(())
}
