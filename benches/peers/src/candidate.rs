//! What every log that is measured has to offer, and what is known of each.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;

use crate::cases::By;
use crate::tasks::{Load, Loaded};

/// How a log is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Its directory, which exists.
    pub(crate) dir: PathBuf,
    /// Payload bytes that will be written at most, if known; 0 otherwise.
    pub(crate) bytes: u64,
    /// Threads that will append at once.
    pub(crate) threads: usize,
    /// The records are written in bulk, and one sync comes at the end.
    pub(crate) bulk: bool,
    /// Nothing may be dropped, for it is counted afterwards.
    pub(crate) kept: bool,
    /// Bytes of a segment, if the case asks for that.
    pub(crate) segment: Option<u64>,
}

/// What a replay gave back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Replayed {
    /// Records that were handed out.
    pub(crate) records: u64,
    /// Their payload bytes.
    pub(crate) bytes: u64,
    /// How long that took.
    pub(crate) took: Duration,
}

impl Replayed {
    /// Counts one record.
    pub(crate) fn add(&mut self, payload: &[u8]) {
        self.records += 1;
        self.bytes += payload.len() as u64;
        std::hint::black_box(payload.first());
    }
}

/// An open log.
pub(crate) trait Candidate: Send + Sync {
    /// Appends one record and returns when it is durable. Callers number themselves.
    fn append(&self, thread: usize, record: &Bytes) -> Result<()>;

    /// Appends a record many times, in the fastest way that keeps each a record of its own.
    /// Durable only after [`Candidate::sync`].
    fn append_many(&self, record: &Bytes, count: u64) -> Result<()>;

    /// Makes durable what was appended.
    fn sync(&self) -> Result<()>;

    /// Reads every record, verified.
    fn replay(&self) -> Result<Replayed>;

    /// Reads the records with these numbers one by one, verified. Places are gathered before
    /// the clock runs.
    fn fetch(&self, _numbers: &[u64], _by: By) -> Result<Replayed> {
        bail!("not offered")
    }

    /// Async tasks append; see [`crate::tasks::run`].
    fn tasks(&self, _load: &Load) -> Result<Loaded> {
        bail!("not offered")
    }

    /// Syncs so far, where the log (or the queue in front of it) counts them.
    fn syncs(&self) -> Option<u64> {
        None
    }

    /// Closes the log as its documentation says.
    fn close(self: Box<Self>) -> Result<()>;
}

/// One log that takes part.
pub(crate) struct Peer {
    /// The name in the table, and of its crate in `Cargo.lock`.
    pub(crate) name: &'static str,
    /// Opens a log, also one that was closed before.
    pub(crate) open: fn(&Setup) -> Result<Box<dyn Candidate>>,
    /// `Err` with the reason if it acknowledges before it syncs or loses what it acknowledged:
    /// then it is not measured against the others.
    pub(crate) durable: Result<(), &'static str>,
    /// `Err` with the reason if it acknowledges what lies in a segment before that has a durable name: then
    /// it is not ranked across rotations.
    pub(crate) names: Result<(), &'static str>,
    /// How its bulk differs from "one sync at the end", if it does.
    pub(crate) bulk: &'static str,
}

/// The version of a crate, as this program was built with it.
pub(crate) fn version(name: &str) -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let mut lines = lock.lines();
    let wanted = format!("name = \"{name}\"");
    lines.by_ref().find(|line| *line == wanted);
    let version = lines.next().and_then(|line| line.split('"').nth(1));
    version.unwrap_or("-")
}
