//! The suite that every storage must pass, on a simulated bucket.

mod support;

wal_core::conformance!(|| support::Bucket::new(7));
