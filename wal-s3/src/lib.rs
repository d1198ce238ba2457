//! Object stores as storage for [`wal_core`].

#[cfg(feature = "sim")]
pub mod sim;
