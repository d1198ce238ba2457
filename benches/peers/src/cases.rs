//! What is measured.

use std::time::Duration;

/// What a case does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// Threads append records of `size` bytes, each waits until its own is durable.
    Durable { threads: usize, size: usize },
    /// Async tasks append records of `size` bytes, each awaits until its own is durable.
    Tasks { tasks: usize, size: usize },
    /// One thread appends records of `size` bytes, one sync at the end.
    Bulk { size: usize },
    /// Reads back what was written in bulk, verified, from the page cache.
    Replay { size: usize },
    /// Reads single records of the same, in random order, verified, from the page cache.
    Fetch { size: usize, by: By },
    /// Opens a log up to its first durable append.
    Reopen { size: usize, state: State },
    /// One thread appends durably across many changes of the segment.
    Rotation { size: usize },
}

/// How a single record is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By a place that the caller has kept.
    Position,
    /// By its number in the log.
    Number,
}

/// What state a log is in when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Closed cleanly.
    Closed,
    /// Closed cleanly, of many small segments.
    Many,
    /// Its process was killed after a sync.
    Killed,
}

impl Work {
    /// Whether it needs a log that is written once and used in every round.
    pub(crate) fn prepared(&self) -> Option<usize> {
        match *self {
            Work::Replay { size } | Work::Fetch { size, .. } => Some(size),
            Work::Reopen { size, state } => (state != State::Killed).then_some(size),
            _ => None,
        }
    }

    /// The segments that the case asks for; otherwise each log has its own.
    pub(crate) fn segment(&self) -> Option<u64> {
        match self {
            Work::Rotation { .. } => Some(ROTATION_SEGMENT),
            Work::Reopen { state, .. } => (*state == State::Many).then_some(MANY_SEGMENT),
            _ => None,
        }
    }
}

/// Bytes of a segment that is rotated.
const ROTATION_SEGMENT: u64 = 8 << 20;
/// Bytes of a segment where there are many.
const MANY_SEGMENT: u64 = 64 << 10;
/// What `wal-core` puts in such a segment: three frames of 8 KiB.
pub(crate) const MANY_PAYLOAD: u64 = 24 << 10;

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
            Work::Durable { .. } | Work::Tasks { .. } => "appends/s",
            Work::Bulk { .. } | Work::Replay { .. } => "GB/s",
            Work::Fetch { .. } => "reads/s",
            Work::Reopen { .. } => "ms",
            Work::Rotation { .. } => "p99.9 us",
        }
    }

    /// What a reader of its table has to know.
    pub(crate) fn note(&self) -> &'static str {
        match self.work {
            Work::Tasks { .. } => "not offered by most: only logs with an async append take part",
            Work::Fetch { .. } => "only logs that offer this in one call take part",
            Work::Rotation { .. } => "segments of 8 MiB, in the logs that take part",
            Work::Reopen {
                state: State::Many, ..
            } => "the cost of a segment: the difference to `reopen`, by the number of segments",
            _ => "",
        }
    }

    /// Whether a smaller value is the better one.
    pub(crate) fn smaller_is_better(&self) -> bool {
        matches!(self.work, Work::Reopen { .. } | Work::Rotation { .. })
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
    /// Bytes of the log that is replayed, read or reopened.
    pub(crate) log: u64,
    /// Single records that are read.
    pub(crate) reads: usize,
    /// Segments of the log that has many.
    pub(crate) segments: u64,
    /// Durable appends across rotations.
    pub(crate) rotated: u64,
}

/// For figures.
pub(crate) const FULL: Amount = Amount {
    warm_up: Duration::from_millis(500),
    window: Duration::from_millis(2000),
    bulk: 512 << 20,
    log: 1 << 30,
    reads: 500_000,
    segments: 10_000,
    rotated: 16_384,
};

/// To see that everything works.
pub(crate) const QUICK: Amount = Amount {
    warm_up: Duration::from_millis(100),
    window: Duration::from_millis(200),
    bulk: 64 << 20,
    log: 64 << 20,
    reads: 20_000,
    segments: 500,
    rotated: 5_120,
};

const fn case(name: &'static str, title: &'static str, work: Work) -> Case {
    Case { name, title, work }
}

const fn durable(threads: usize, size: usize) -> Work {
    Work::Durable { threads, size }
}

const fn fetch(by: By) -> Work {
    Work::Fetch { size: 1 << 10, by }
}

const fn reopen(state: State) -> Work {
    Work::Reopen {
        size: 1 << 10,
        state,
    }
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
        "async-1000",
        "1,000 async tasks on 2 threads of tokio, 1 KiB, each awaits its own",
        Work::Tasks {
            tasks: 1000,
            size: 1 << 10,
        },
    ),
    case(
        "rotation",
        "1 thread, durable, 16 KiB, across rotations",
        Work::Rotation { size: 16 << 10 },
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
        "read-1k",
        "random reads by position, 1 KiB, verified, warm",
        fetch(By::Position),
    ),
    case(
        "get-1k",
        "random reads by number, 1 KiB, verified, warm",
        fetch(By::Number),
    ),
    case(
        "reopen",
        "open to first durable append, after a clean close",
        reopen(State::Closed),
    ),
    case(
        "reopen-many",
        "open to first durable append, after a clean close, many segments of 64 KiB",
        reopen(State::Many),
    ),
    case(
        "reopen-killed",
        "open to first durable append, after SIGKILL",
        reopen(State::Killed),
    ),
];
