//! What a caller may choose, and the bounds of each choice.

use std::time::Duration;

use wal_core::StorageError;

/// How a log uses its object store. The defaults suit S3 and its kin.
///
/// ```
/// use wal_s3::{Hedge, Options};
/// let options = Options { take_over: true, hedge: Hedge::Adaptive, ..Options::default() };
/// assert_eq!(options.in_flight, 8);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Fence off a writer that has not closed the log (G6). Without it such a log does not open
    /// for writing: that writer may be alive. With it, it stops for ever at its next append, and
    /// nothing that it acknowledged is lost. A log whose writer was killed needs it, too.
    pub take_over: bool,
    /// Uploads under way at once: 1 to 256, default 8. Each is acknowledged in turn.
    pub in_flight: u32,
    /// A segment ends after so many objects: 2 to 10,000, default 256. An open reads the newest
    /// segment; space is freed by whole segments.
    pub segment_objects: u32,
    /// Objects that are fetched ahead of a reader that reads in order: 0 to 256, default 112, as
    /// far as they take seven eighths of `cache_bytes` at most. Downloads come in any order, and one
    /// that takes long holds up those behind it: less memory makes a replay slower.
    pub read_ahead: u32,
    /// Memory for what was read or appended last: 1 MiB to 16 GiB, default 128 MiB. Tails in this
    /// process find there what was just appended.
    pub cache_bytes: u64,
    /// Whether a second request is sent where an upload takes unusually long.
    pub hedge: Hedge,
    /// The most requests in a second, all kinds together; `None` (default) for no cap. Below it
    /// uploads wait, and so frames grow.
    pub requests_per_second: Option<u32>,
    /// After this long an unanswered request counts as failed and is sent again: 100 ms to
    /// 10 minutes, default 15 s.
    pub request_timeout: Duration,
    /// For how long a request that fails is repeated, with growing pauses, before the log gives
    /// up (G5): up to an hour, default 2 minutes. A log that is dropped while its store does not answer
    /// waits as long, since what was appended may still become durable: where that must not be, call
    /// `Wal::close_timeout` before.
    pub retry_for: Duration,
    /// The same for a store that has never answered, and for trying whether it is fit: an open must
    /// not wait for minutes where an address, a region or a network is wrong. Default 10 s; never
    /// longer than `retry_for`.
    pub first_answer_within: Duration,
    /// How long a storage that is dropped without having been closed waits until the log is: up to
    /// a minute, default 5 s. What is not closed by then has to be taken over.
    pub close_within: Duration,
    /// A hint of where the log ends is written each time that so many more objects are confirmed:
    /// 1 to 10,000, default 32. The next open looks from there on.
    pub hint_objects: u32,
    /// How those who are refused or fenced learn who has the log: up to 200 bytes. Default: the
    /// process number and, where it is known, the name of the machine.
    pub owner: String,
}

/// Sending an upload twice, where the first request takes unusually long. Both create the same
/// object with the same bytes, so that whichever arrives first counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hedge {
    /// Never.
    #[default]
    Off,
    /// When it has taken longer than nine of ten did lately; at most one byte in eight is
    /// sent twice.
    Adaptive,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            take_over: false,
            in_flight: 8,
            segment_objects: 256,
            read_ahead: 112,
            cache_bytes: 128 << 20,
            hedge: Hedge::Off,
            requests_per_second: None,
            request_timeout: Duration::from_secs(15),
            retry_for: Duration::from_secs(120),
            first_answer_within: Duration::from_secs(10),
            close_within: Duration::from_secs(5),
            hint_objects: 32,
            owner: this_process(),
        }
    }
}

impl Options {
    pub(crate) fn validate(&self) -> Result<(), StorageError> {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let cap = self.requests_per_second.map_or(1, u64::from);
        for (option, value, low, high) in [
            ("in_flight", u64::from(self.in_flight), 1, 256),
            (
                "segment_objects",
                u64::from(self.segment_objects),
                2,
                10_000,
            ),
            ("read_ahead", u64::from(self.read_ahead), 0, 256),
            ("cache_bytes", self.cache_bytes, 1 << 20, 16 << 30),
            ("requests_per_second", cap, 1, 1 << 20),
            (
                "request_timeout (ms)",
                milliseconds(self.request_timeout),
                100,
                600_000,
            ),
            ("retry_for (ms)", milliseconds(self.retry_for), 0, 3_600_000),
            (
                "close_within (ms)",
                milliseconds(self.close_within),
                0,
                60_000,
            ),
            ("hint_objects", u64::from(self.hint_objects), 1, 10_000),
            ("owner (bytes)", self.owner.len() as u64, 0, 200),
        ] {
            if !(low..=high).contains(&value) {
                let why = format!("{value} is not within {low} to {high}");
                let cause = std::io::Error::new(std::io::ErrorKind::InvalidInput, why);
                return Err(StorageError::io(
                    format!("option `{option}` of wal-s3"),
                    cause,
                ));
            }
        }
        Ok(())
    }
}

fn this_process() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let machine = machine.ok().or_else(|| std::env::var("HOSTNAME").ok());
    let machine: String = machine
        .unwrap_or_default()
        .trim()
        .chars()
        .take(60)
        .collect();
    match machine.as_str() {
        "" => format!("process {}", std::process::id()),
        machine => format!("process {} on {machine}", std::process::id()),
    }
}
