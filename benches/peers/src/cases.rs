//! What is measured.

use std::time::Duration;

/// What a case does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Threads append records of `size` bytes, each waits until its own is durable.
    Durable { threads: usize, size: usize },
    /// One thread appends records of `size` bytes, one sync at the end.
    Bulk { size: usize },
    /// Reads back what was written in bulk, verified, from the page cache.
    Replay { size: usize },
    /// Opens a log that was closed cleanly, up to its first durable append.
    Reopen { size: usize },
}

/// One row of the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name on the command line and in the JSON file.
    pub(crate) name: &'static str,
    /// Its title.
    pub(crate) title: &'static str,
    /// What it does.
    pub(crate) work: Work,
}

impl Case {
    /// The unit of its value.
    pub(crate) fn unit(&self) -> &'static str {
        match self.work {
            Work::Durable { .. } => "appends/s",
            Work::Bulk { .. } | Work::Replay { .. } => "GB/s",
            Work::Reopen { .. } => "ms",
        }
    }

    /// Whether a smaller value is the better one.
    pub(crate) fn smaller_is_better(&self) -> bool {
        matches!(self.work, Work::Reopen { .. })
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// Runs before each durable measurement.
    pub(crate) warm_up: Duration,
    /// The durable measurement.
    pub(crate) window: Duration,
    /// Bytes written in bulk.
    pub(crate) bulk: u64,
    /// Bytes of the log that is replayed or reopened.
    pub(crate) log: u64,
}

/// For figures.
pub(crate) const FULL: Amount = Amount {
    warm_up: Duration::from_millis(500),
    window: Duration::from_millis(2000),
    bulk: 512 << 20,
    log: 1 << 30,
};

/// To see that everything works.
pub(crate) const QUICK: Amount = Amount {
    warm_up: Duration::from_millis(100),
    window: Duration::from_millis(200),
    bulk: 64 << 20,
    log: 64 << 20,
};

const fn case(name: &'static str, title: &'static str, work: Work) -> Case {
    Case { name, title, work }
}

const fn durable(threads: usize, size: usize) -> Work {
    Work::Durable { threads, size }
}

/// All of them.
pub(crate) const ALL: &[Case] = &[
    case(
        "durable-1k",
        "1 thread, durable, 1 KiB",
        durable(1, 1 << 10),
    ),
    case(
        "durable-16k",
        "1 thread, durable, 16 KiB",
        durable(1, 16 << 10),
    ),
    case(
        "durable-256k",
        "1 thread, durable, 256 KiB",
        durable(1, 256 << 10),
    ),
    case(
        "threads-64",
        "64 threads, 1 KiB, each waits",
        durable(64, 1 << 10),
    ),
    case(
        "threads-256",
        "256 threads, 1 KiB, each waits",
        durable(256, 1 << 10),
    ),
    case(
        "bulk-128",
        "bulk, 128 B, one sync at the end",
        Work::Bulk { size: 128 },
    ),
    case(
        "bulk-1k",
        "bulk, 1 KiB, one sync at the end",
        Work::Bulk { size: 1 << 10 },
    ),
    case(
        "bulk-256k",
        "bulk, 256 KiB, one sync at the end",
        Work::Bulk { size: 256 << 10 },
    ),
    case(
        "replay",
        "replay, 1 KiB, verified, warm",
        Work::Replay { size: 1 << 10 },
    ),
    case(
        "reopen",
        "open to first durable append, after a clean close",
        Work::Reopen { size: 1 << 10 },
    ),
];
