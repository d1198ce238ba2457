//! Lossless ingest on [`wal_core`]: reliable receivers with a write-ahead log, and direct
//! mode over offset ranges. Blocking calls, no async runtime; everything is `Send`.
//!
//! ```text
//! receiver mode   Feed -> Receiver -> WalStore (a log) -> WalSource -> Driver -> Sink
//! direct mode                                    KafkaSource, ... -> Driver -> Sink
//! ```
//!
//! A [`Receiver`] reads a [`Feed`] (a Kafka consumer group, files), stores each block of
//! records with the positions that it reaches in one atomic append, and acknowledges when
//! that is durable. A [`Driver`] takes ranges from a [`Source`] (the receiver's log, a Kafka
//! topic, files), notes each batch in its [`Checkpoint`] before and after it runs, and hands
//! it to a [`Sink`].
//!
//! What holds, whatever crashes when:
//!
//! - nothing is acknowledged that is not durable in the log (S1);
//! - a source that replays by position is in the log exactly once (S2);
//! - a batch that runs again covers exactly the same ranges (S3);
//! - the output is exactly once if the sink is keyed by batch or transactional (S4);
//! - an owner that lost its partitions acknowledges nothing of them any more (S5);
//! - data that is gone is an error with its place, never a silent skip (S6).
//!
//! From a file, through a log, into a file for each batch:
//!
//! ```
//! use wal_core::{Options, Wal};
//! use wal_fs::FileStorage;
//! use wal_streaming::{
//!     Acknowledge, Driver, DriverOptions, FileFeed, FileSink, Format, Receiver, ReceiverOptions,
//!     Stop, WalSource, WalStore,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let input = dir.path().join("orders.txt");
//! std::fs::write(&input, "first\nsecond\n")?;
//! let log = |name| FileStorage::open(dir.path().join(name));
//! let (wal, _) = Wal::open(log("log")?, Options::default())?;
//! let source = WalSource::new(wal.clone(), "orders");
//! let finisher = source.finisher();
//!
//! let feed = FileFeed::open(vec![input])?;
//! let store = WalStore::open(wal, Acknowledge::Durable)?;
//! let options = ReceiverOptions::default();
//! Receiver::new(Box::new(feed), Box::new(store), options)?.run(&Stop::new())?;
//! finisher.finish();
//!
//! let sink = FileSink::new(dir.path().join("out"), Format::Raw)?;
//! let (checkpoint, _) = Wal::open(log("checkpoint")?, Options::default())?;
//! let options = DriverOptions::new("orders");
//! let (mut driver, _) = Driver::open(Box::new(source), Box::new(sink), checkpoint, options)?;
//! assert_eq!(driver.run(&Stop::new())?.records, 2);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
// Nothing that input, disk or network can reach may panic.
#![warn(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod block;
mod checkpoint;
mod codec;
mod counting;
mod driver;
mod envelope;
mod error;
mod feed;
mod file;
mod file_sink;
mod finisher;
#[cfg(feature = "kafka")]
mod kafka;
mod memory;
mod position;
mod receiver;
mod record;
mod sink;
mod source;
mod stop;
mod store;
mod syncer;
mod wal_source;

pub use block::Block;
pub use checkpoint::Checkpoint;
pub use counting::{Counted, CountingSink};
pub use driver::{
    BatchReport, Driver, DriverOptions, DriverReport, Missing, OnBatch, Resumed, Step,
};
pub use error::{Error, Result};
pub use feed::Feed;
pub use file::{FileFeed, FileSource};
pub use file_sink::{FileSink, Format};
pub use finisher::Finisher;
#[cfg(feature = "kafka")]
pub use kafka::{KafkaFeed, KafkaOptions, KafkaSource};
pub use memory::{MemorySource, MemoryStore, memory_channel};
pub use position::{OffsetRange, Partition, Positions};
pub use receiver::{OnPermitted, Receiver, ReceiverOptions, ReceiverReport};
pub use record::RecordRef;
pub use sink::{Batch, Delivery, Sink};
pub use source::{Each, Source};
pub use stop::Stop;
pub use store::{Acknowledge, Store, Ticket, WalStore};
pub use wal_source::WalSource;
