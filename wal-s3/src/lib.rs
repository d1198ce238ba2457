//! Object stores (S3, GCS, Azure, in memory) as storage for [`wal_core`].

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
mod storage;
mod term;
mod trim;

#[cfg(feature = "sim")]
pub mod sim;

pub use options::{Hedge, Options};
pub use requests::{Prices, Requests};
pub use storage::ObjectStorage;
