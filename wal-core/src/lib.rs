//! A write-ahead log for people who ingest data durably.
//!
//! Records go in with [`Wal::append`] (atomic, grouped) and are numbered by [`Lsn`].
//! A [`Commit`] tells when they are durable. [`Wal::reader`] and [`Wal::tail`] give them
//! back, verified and in order; [`Wal::release`] lets go of what is no longer needed.
//! Where the bytes go is the business of a [`Storage`]: local files (`wal-fs`), or your own.
//!
//! The guarantees carry identifiers, G1 to G11, and are listed in `docs/ARCHITECTURE.md`;
//! the bytes are in `docs/FORMAT.md`.
//!
//! ```
//! # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
//! # let storage = SimStorage::new(1);
//! let (wal, _recovery) = Wal::open(storage, Options::default())?;
//! let commit = wal.append(["order 1", "order 2"])?; // both or neither
//! commit.wait()?; // durable: survives kill -9 and power loss
//! for record in wal.reader(Lsn::ZERO)? {
//!     let record = record?;
//!     println!("{}: {:?}", record.lsn, record.payload);
//! }
//! # Ok::<(), wal_core::Error>(())
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

mod append;
mod attachment;
mod backup;
mod bells;
mod block;
mod checksum;
mod codec;
mod commit;
mod committer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod driver;
mod error;
mod footer;
mod frame;
mod generation;
mod group;
mod index;
mod layout;
mod location;
mod look;
mod lookup;
mod lsn;
mod map;
mod named;
mod opening;
mod options;
#[doc(hidden)]
pub mod planted;
mod reader;
mod receipt;
mod recovery;
mod request;
mod retention;
mod salvage;
mod scan;
mod segment;
mod segments;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
pub mod storage;
mod sync;
mod tail;
mod truncate;
mod verify;
mod view;
mod waiters;
mod wal;

pub use append::Append;
pub use commit::Commit;
pub use error::{Error, Result};
pub use location::Location;
pub use lsn::{Epoch, Identity, Lsn, Position, SegmentId};
pub use opening::Opening;
pub use options::{Compression, Durability, OnFull, Options};
pub use reader::{Reader, Record};
pub use receipt::Receipt;
pub use recovery::{Recovery, Unconfirmed};
pub use retention::Hold;
pub use salvage::{Gap, Salvage, Salvaged};
pub use shared::Stats;
pub use storage::{IoFuture, Limits, SegmentMeta, Storage, StorageError, Sync, Writer};
pub use tail::Tail;
pub use verify::Verified;
pub use view::{Follow, ReadOnly};
pub use wal::Wal;
