//! Object stores (S3, GCS, Azure, in memory) as storage for [`wal_core`], through the
//! [`object_store`] crate.
//!
//! Correctness rests on one promise of the store, *create-if-absent*, and on listings and reads
//! that show what was created. A store that does not keep the first is refused at the open.
//! Nothing relies on entity tags, metadata, conditional updates, clocks or leases.
//!
//! - *Fenced.* One writer at a time. Whoever seals an epoch at its first hole owns the next one; a
//!   writer that was fenced stops at its next append, and nothing that it acknowledged is lost.
//!   A bucket cannot tell whether a writer that has not closed the log is alive: to open such a
//!   log for writing, ask for it ([`Options::take_over`]).
//! - *Pipelined.* Up to [`Options::in_flight`] uploads at once, acknowledged in order.
//! - *Doubtful outcomes* (timeouts, conflicts, errors after which the object is there) are
//!   settled by reading the header at that name. What is in doubt is never acknowledged.
//! - *Frugal.* No listing on the way of an append, a read, or an open after a hint; released
//!   objects are deleted in large requests; [`ObjectStorage::requests`] counts all, in dollars, too.
//!
//! What "durable" means here is what the store promises of an object that it has confirmed.
//!
//! Dropping a log whose store does not answer waits until requests have failed for good
//! ([`Options::retry_for`]); `Wal::close_timeout` does not.
//!
//! Limits. Epochs' seals are never deleted: an object of some 200 bytes for each open that wrote. A
//! segment that was truncated away is deleted only when all before it has been released. The log
//! does not open if the header of an object in its newest segment is damaged
//! (`Wal::salvage` reads what is left). Two logs must not
//! share a prefix, and lifecycle rules must not delete objects below it.

// Nothing that input or network can reach may panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod advice;
mod cache;
mod client;
mod directory;
mod fence;
mod hedge;
mod inner;
mod key;
mod locate;
mod object;
mod options;
mod probe;
mod put;
mod read;
mod requests;
mod rescue;
mod storage;
mod term;
mod trim;
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]
mod url;

#[cfg(feature = "sim")]
pub mod sim;

pub use options::{Hedge, Options};
pub use requests::{Prices, Requests};
pub use storage::ObjectStorage;
