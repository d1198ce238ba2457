//! What the parent tells a child, and what the child tells back: lines of JSON over the
//! child's standard input and output.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use wal_core::Options;
use wal_streaming::Acknowledge;

use crate::bucket::{Asked, Bucket};
use crate::failure::Failure;
use crate::identity::Identity;
use crate::kafka::Committed;

/// The ways to ingest that are compared. They differ by the log alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Arm {
    /// Direct mode: planned offset ranges, no log
    Direct,
    /// Receiver that acknowledges on receipt: loses by design
    NoLog,
    /// Receiver with a log; acknowledges what is durable
    Durable,
    /// The same; the log waits up to 10 ms for company before it syncs
    #[value(name = "every-10ms")]
    #[serde(rename = "every-10ms")]
    Every10ms,
    /// Receiver with a log; acknowledges first, syncs every 50 ms
    BeforeSync,
    /// Receiver with a log in an object store; acknowledges what is durable there
    Bucket,
}

impl Arm {
    pub(crate) const ALL: [Arm; 6] = [
        Arm::Direct,
        Arm::NoLog,
        Arm::Durable,
        Arm::Every10ms,
        Arm::BeforeSync,
        Arm::Bucket,
    ];

    /// As the report calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Arm::Direct => "direct",
            Arm::NoLog => "receiver without log",
            Arm::Durable => "receiver+WAL durable",
            Arm::Every10ms => "receiver+WAL synced every 10 ms",
            Arm::BeforeSync => "receiver+WAL acknowledged before sync",
            Arm::Bucket => "receiver+WAL on a bucket",
        }
    }

    /// What its acknowledgements survive.
    pub(crate) fn survives(self) -> &'static str {
        match self {
            Arm::Direct => "kill, system crash and power cut, if the source keeps and replays",
            Arm::NoLog => "nothing: what was acknowledged and not yet processed is lost",
            Arm::Durable => "kill, crash of the system and power cut",
            Arm::Every10ms => {
                "kill, crash of the system and power cut (acknowledgements wait for the sync)"
            }
            Arm::BeforeSync => {
                "a kill, not a power cut: that costs what was acknowledged and not yet synced"
            }
            Arm::Bucket => "kill, power cut and the loss of the machine, as far as the store keeps",
        }
    }

    /// A short name for files and options.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether a kill may neither lose nor repeat a record.
    pub(crate) fn promises(self) -> bool {
        self != Arm::NoLog
    }

    /// Whether the receiver keeps a log.
    pub(crate) fn has_log(self) -> bool {
        !matches!(self, Arm::Direct | Arm::NoLog)
    }

    pub(super) fn log_options(self) -> Options {
        match self {
            Arm::Every10ms => Options {
                linger: Duration::from_millis(10),
                // A full frame does not wait for company: let the time decide.
                frame_bytes: 16 << 20,
                ..Options::default()
            },
            _ => Options::default(),
        }
    }

    pub(super) fn acknowledge(self) -> Acknowledge {
        match self {
            Arm::BeforeSync => Acknowledge::Accepted,
            _ => Acknowledge::Durable,
        }
    }
}

/// Sizes and times that all arms share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cadence {
    pub(crate) block_records: u64,
    pub(crate) block_bytes: u64,
    pub(crate) block_interval_ms: u64,
    /// Blocks that may wait for their acknowledgement.
    pub(crate) blocks_in_flight: usize,
    pub(crate) batch_records: u64,
    /// How often the source is told.
    pub(crate) commit_interval_ms: u64,
    pub(crate) session_timeout_ms: u64,
}

impl Cadence {
    /// Large enough to be fast, small enough that a kill finds many batches done and
    /// many to come.
    pub(crate) fn for_records(records: u64) -> Cadence {
        Cadence {
            block_records: (records / 50).clamp(20, 10_000),
            block_bytes: 256 << 10,
            block_interval_ms: 5,
            blocks_in_flight: 32,
            batch_records: (records / 25).clamp(20, 20_000),
            commit_interval_ms: 10,
            session_timeout_ms: 6_000,
        }
    }
}

/// Everything a child needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) arm: Arm,
    pub(crate) cadence: Cadence,
    pub(crate) brokers: String,
    pub(crate) topic: String,
    pub(crate) group: String,
    /// Where the log of the arm lies that has it in an object store.
    pub(crate) bucket: Bucket,
    /// The sub-directories of this one survive a kill and are used again.
    pub(crate) dir: PathBuf,
    /// Write identities to files, or only count.
    pub(crate) sink: Option<Identity>,
    /// Note what was synced and what was acknowledged, for a power cut.
    pub(crate) notes: bool,
    /// The source cannot go back behind these places: a queue that has forgotten what
    /// was acknowledged.
    pub(crate) forgotten: Vec<Committed>,
    /// Receive at most this many records a second.
    pub(crate) pace: Option<u64>,
    /// What the sink takes longer for each batch, as one that does some work does.
    pub(crate) sink_delay_ms: u64,
}

impl Spec {
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn checkpoint_dir(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    pub(crate) fn sink_dir(&self) -> PathBuf {
        self.dir.join("sink")
    }

    /// Notes of what was synced.
    pub(crate) fn synced_file(&self) -> PathBuf {
        self.dir.join("synced")
    }

    /// Notes of what was acknowledged.
    pub(crate) fn acknowledged_file(&self) -> PathBuf {
        self.dir.join("acknowledged")
    }
}

/// A line from the child.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    /// Counts so far.
    At { received: u64, sunk: u64 },
    /// The arm ran to the end.
    Finished(Measured),
    /// It failed.
    Failed(Failure),
}

/// What a child measured of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) received: u64,
    /// Bytes of keys and values received.
    pub(crate) bytes: u64,
    pub(crate) sunk: u64,
    /// From the first record received to the last batch done.
    pub(crate) window_seconds: f64,
    /// From the start of the arm to the first record received.
    pub(crate) join_seconds: f64,
    pub(crate) cpu_seconds: Option<f64>,
    /// What log and checkpoint gave to storage.
    pub(crate) stored_bytes: u64,
    pub(crate) peak_memory_bytes: Option<u64>,
    /// Of the arm whose log lies in an object store.
    pub(crate) asked: Option<Asked>,
    /// Records received again after a restart, and dropped by their position.
    pub(crate) repeats_dropped: u64,
    /// Records of a planned batch that were gone, and skipped by policy.
    pub(crate) skipped: u64,
    /// Microseconds from receipt to acknowledgement, and how many records took that long.
    pub(crate) latency: Vec<(u64, u64)>,
}
