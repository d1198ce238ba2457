//! The suite that every storage must pass. `WAL_HISTORIES` says how many histories are tried, where
//! the usual 12 take long.

use wal_core::conformance::{Place, checks, history_agrees_with_the_model};
use wal_s3::{ObjectStorage, Options};

/// A prefix of its own. Processes are not killed here.
struct Bucket {
    url: String,
}

impl Place for Bucket {
    type Storage = ObjectStorage;

    fn open(&self) -> ObjectStorage {
        let options = Options {
            take_over: false,
            ..super::options()
        };
        ObjectStorage::from_url(&self.url, options).expect("WAL_S3_URL is usable")
    }
}

#[test]
#[ignore = "needs a server: scripts/s3-tests.sh"]
fn conforms() {
    for (name, check) in checks::<Bucket>() {
        let begun = std::time::Instant::now();
        let made = std::cell::Cell::new(0);
        let fresh = || {
            made.set(made.get() + 1);
            Bucket {
                url: super::place(&format!("{name}-{}", made.get())),
            }
        };
        match name {
            "histories_agree_with_the_model" => {
                for seed in 0..super::rounds("WAL_HISTORIES", 12) {
                    history_agrees_with_the_model(fresh(), u64::from(seed));
                }
            }
            _ => check(&fresh),
        }
        println!("{name}: {:.1} s", begun.elapsed().as_secs_f32());
    }
}
