//! The command line: options, their bounds, the exit codes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::arm::spec::Arm;
use crate::bucket::Bucket;

const EXAMPLES: &str = "\
Examples:
  wal-benches compare                         the sample, an in-process broker, three minutes
  wal-benches compare --dir /mnt/nvme         logs on the disk that you mean to use
  wal-benches compare --records 2000000 --kills 10 --seed 7 --json report.json
  wal-benches compare --input orders.jsonl.zst
  wal-benches compare --arms durable,bucket --bucket sim:express
  wal-benches compare --kafka 127.0.0.1:9092  a real broker; loads a topic of its own, deletes it
  wal-benches compare --kafka 127.0.0.1:9092 --topic orders
                                              your topic, only read; your groups are not touched

Exit codes:
  0  every arm ran, and those that promise to lose and repeat nothing kept the promise
  1  failure while running
  2  wrong usage
  3  input file missing, unreadable or empty
  4  broker unreachable, topic unknown, or records not kept by it
  5  log directory unusable or in use, log damaged or of a newer format
  6  promise broken: an arm that must not lost or repeated records";

/// What a write-ahead log costs on this machine, and what it saves.
#[derive(Debug, Parser)]
#[command(name = "wal-benches", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ingest the same records in direct mode and in receiver mode, with and without a
    /// log; kill each in the middle; report price and losses side by side
    #[command(after_help = EXAMPLES)]
    Compare(Box<Compare>),
    /// One arm, as a child of `compare`: takes its specification from standard input
    #[command(hide = true)]
    Arm,
}

/// Options of `compare`.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Lines to ingest, plain or zstd; repeated up to --records [default: flights from New York, January 2013]
    #[arg(long, value_name = "FILE", conflicts_with = "topic")]
    pub(crate) input: Option<PathBuf>,

    /// Records to load [default: 500000]
    #[arg(long, value_name = "N", conflicts_with = "topic",
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) records: Option<u64>,

    /// A real broker, host:port[,host:port...] [default: a broker inside this process]
    #[arg(long, value_name = "BROKERS", value_parser = brokers)]
    pub(crate) kafka: Option<String>,

    /// An existing topic of that broker: its records are read, up to its end at start; nothing is loaded
    #[arg(long, value_name = "TOPIC", requires = "kafka",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) topic: Option<String>,

    /// Chooses the points where arms are killed; the same seed chooses the same points
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Crash trials for each arm
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) kills: u32,

    /// Also write everything measured to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Where the logs go: the disk that is measured [default: beside the executable]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// The object store of the arm that has its log in one: `sim:s3` or `sim:express`, which answer
    /// as slowly as those, or a URL such as s3://bucket/prefix (needs a build with --features cloud;
    /// credentials from the environment)
    #[arg(long, value_name = "BUCKET", default_value = "sim:s3")]
    pub(crate) bucket: Bucket,

    /// Only these arms, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "ARMS")]
    pub(crate) arms: Vec<Arm>,

    /// The least number of throughput rounds
    #[arg(long, value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,

    /// The least time, in seconds, that the rounds of an arm add up to
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) min_seconds: f64,
}

/// Where the default of `--records` lives: clap cannot have a default that conflicts.
pub(crate) const DEFAULT_RECORDS: u64 = 500_000;

fn brokers(text: &str) -> Result<String, String> {
    let valid = text.split(',').all(|broker| {
        broker.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    });
    if valid {
        Ok(text.into())
    } else {
        Err("expected host:port[,host:port...]".into())
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=3_600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected 0 to 3600 seconds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn brokers_need_host_and_port() {
        assert!(brokers("127.0.0.1:9092,[::1]:9093").is_ok());
        for wrong in ["", "localhost", ":9092", "host:0", "host:99999", "a:1,,b:2"] {
            assert!(brokers(wrong).is_err(), "{wrong}");
        }
    }
}
