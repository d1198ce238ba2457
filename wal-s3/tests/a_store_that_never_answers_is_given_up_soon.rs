//! An open gives up in seconds where nothing has ever answered, and says why; a store that has
//! answered is waited for as long as a log waits.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::Bucket;
use wal_core::Wal;
use wal_s3::sim::Faults;
use wal_s3::{ObjectStorage, Options};

fn options() -> Options {
    Options {
        first_answer_within: Duration::from_secs(1),
        retry_for: Duration::from_secs(60),
        request_timeout: Duration::from_millis(300),
        ..support::options()
    }
}

#[test]
fn whatever_fails_at_an_open_is_said_in_one_line_and_soon() {
    let unavailable = Faults {
        unavailable: 1.0,
        ..Faults::default()
    };
    let silent = Faults {
        never: 1.0,
        ..Faults::default()
    };
    for (faults, said) in [(unavailable, "slow down"), (silent, "no answer within")] {
        let store = Bucket::new(1).client();
        store.set_faults(faults);
        let begun = Instant::now();
        let storage = ObjectStorage::new(Arc::new(store), "log", options()).unwrap();
        let opened = Wal::open(storage, wal_core::Options::default());
        let refused = opened.map(|_| ()).unwrap_err().to_string();
        assert!(begun.elapsed() < Duration::from_secs(10), "{refused}");
        assert!(
            refused.to_lowercase().contains(said),
            "{said:?} is not said by: {refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
        let named = refused.contains("opening the log at SimStore(process 0)/log: ");
        assert!(named && !refused.contains("probe"), "{refused}");
    }
}

#[test]
fn a_store_that_has_answered_is_waited_for() {
    let store = Bucket::new(2).client();
    let storage = ObjectStorage::new(Arc::new(store.clone()), "log", options()).unwrap();
    let (wal, _) = Wal::open(storage, wal_core::Options::default()).unwrap();
    store.set_faults(Faults {
        unavailable: 1.0,
        ..Faults::default()
    });
    let commit = wal.append("patience").unwrap();
    std::thread::sleep(Duration::from_secs(2)); // longer than an open would wait
    store.set_faults(Faults::default());
    commit.wait().unwrap();
}
