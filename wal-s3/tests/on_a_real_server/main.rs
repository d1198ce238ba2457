//! A log on a real object store: `scripts/s3-tests.sh`. `WAL_S3_URL` names a bucket; credentials
//! and endpoint come from the environment. Writers that are killed, stopped, or misled are
//! processes of their own: this test, started again (see [`child`]).

#![cfg(any(feature = "aws", feature = "gcp", feature = "azure"))]

mod bad_places_are_named;
mod child;
mod conforms;
mod one_writer_acknowledges;
mod survives_kill_nine;

use std::time::Duration;

use wal_core::Wal;
use wal_s3::{ObjectStorage, Options};

/// A place of its own in the bucket, which other runs may have used.
fn place(name: &str) -> String {
    let bucket = std::env::var("WAL_S3_URL").expect("WAL_S3_URL is set: see scripts/s3-tests.sh");
    let now = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
    format!("{bucket}/{now}-{}/{name}", std::process::id())
}

/// How often something is done: `name` in the environment, or this.
fn rounds(name: &str, usual: u32) -> u32 {
    std::env::var(name).map_or(usual, |rounds| rounds.parse().expect("a number"))
}

fn options() -> Options {
    Options {
        take_over: true,
        segment_objects: 16,
        retry_for: Duration::from_secs(20),
        request_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

fn open(url: &str) -> Result<(Wal, wal_core::Recovery), wal_core::Error> {
    let core_options = wal_core::Options {
        segment_bytes: 256 << 10, // rolls often
        append_bytes: 64 << 10,
        ..wal_core::Options::default()
    };
    Wal::open(ObjectStorage::from_url(url, options())?, core_options)
}
