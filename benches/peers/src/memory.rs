//! How much memory a log needs: a child takes one sample of it alone, and tells by how much its
//! resident memory grew at most meanwhile. What the harness itself needs stands in the floors' rows.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::candidate::Peer;
use crate::cases::{self, Amount, Case};
use crate::measure::{self, by_name};

/// The child.
pub(crate) fn child(case: &str, name: &str, dir: &Path, amount: &Amount) -> Result<()> {
    let case = cases::ALL.iter().find(|known| known.name == case);
    let case = case.with_context(|| "no such case")?;
    let setup = measure::setup(dir, case.work, amount);
    let before = status("VmRSS:")?;
    measure::sample(by_name(name)?, &setup, case.work, amount)?;
    let grown = status("VmHWM:")?.saturating_sub(before);
    writeln!(std::io::stdout(), "KIB {grown}")?;
    Ok(())
}

/// MiB by which a child grows that takes one sample.
pub(crate) fn of(case: &Case, peer: &Peer, dir: &Path, quick: bool) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--child", peer.name, "--child-case", case.name]);
    child.arg("--dir").arg(dir).stderr(Stdio::null());
    if quick {
        child.arg("--quick");
    }
    let out = child.output()?;
    let said = String::from_utf8_lossy(&out.stdout);
    let kib = said.lines().find_map(|line| line.strip_prefix("KIB "));
    ensure!(
        out.status.success(),
        "the child that measures memory failed"
    );
    let kib: f64 = kib.context("the child said nothing")?.trim().parse()?;
    Ok(kib / 1024.0)
}

/// A line of `/proc/self/status`, in KiB.
fn status(name: &str) -> Result<u64> {
    kib("/proc/self/status", name)
}

/// A line of a file of such lines, in KiB.
pub(crate) fn kib(file: &str, name: &str) -> Result<u64> {
    let status = std::fs::read_to_string(file)?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.with_context(|| format!("no {name}"))?.parse()?)
}
