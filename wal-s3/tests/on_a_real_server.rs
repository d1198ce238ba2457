//! The suite that every storage must pass, on a real server: `scripts/s3-tests.sh`.
//! `WAL_S3_URL` names a bucket; credentials and endpoint come from the environment.

#![cfg(feature = "aws")]

use std::time::Duration;

use wal_core::conformance::{Place, checks};
use wal_s3::{ObjectStorage, Options};

/// A prefix of its own. Processes are not killed here.
struct Bucket {
    url: String,
}

impl Place for Bucket {
    type Storage = ObjectStorage;

    fn open(&self) -> ObjectStorage {
        let options = Options {
            segment_objects: 16,
            retry_for: Duration::from_secs(20),
            ..Options::default()
        };
        ObjectStorage::from_url(&self.url, options).expect("WAL_S3_URL is usable")
    }
}

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn conforms() {
    let base = std::env::var("WAL_S3_URL").expect("WAL_S3_URL is set");
    let run = std::process::id();
    for (name, check) in checks::<Bucket>() {
        println!("{name}");
        let made = std::cell::Cell::new(0);
        check(&|| {
            made.set(made.get() + 1);
            Bucket {
                url: format!("{base}/{run}/{name}-{}", made.get()),
            }
        });
    }
}
