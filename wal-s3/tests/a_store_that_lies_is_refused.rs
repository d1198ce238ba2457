//! A store that does not honour create-if-absent is refused at the open, in words that say what
//! was seen; and so is a prefix that something else uses.

mod support;

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use support::Bucket;
use wal_core::Wal;
use wal_s3::sim::Faults;
use wal_s3::{ObjectStorage, Options};

fn refusal(store: Arc<dyn ObjectStore>) -> String {
    let storage = ObjectStorage::new(store, "log", support::options()).unwrap();
    let opened = Wal::open(storage, wal_core::Options::default());
    opened.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn that_creates_what_exists() {
    let store = Bucket::new(1).client();
    store.set_faults(Faults {
        ignores_create: true,
        ..Faults::default()
    });
    let refused = refusal(Arc::new(store));
    assert!(refused.contains("create-if-absent"), "{refused}");
    assert!(
        refused.contains("a second time") || refused.contains("of 16"),
        "{refused}"
    );
}

#[test]
fn that_lets_several_win_a_race() {
    let store = Bucket::new(2)
        .client()
        .with_profile(wal_s3::sim::Profile::EXPRESS);
    store.set_faults(Faults {
        races_create: true,
        ..Faults::default()
    });
    let refused = refusal(Arc::new(store));
    assert!(refused.contains("of 16"), "{refused}");
}

#[test]
fn a_prefix_with_something_else_in_it_is_named() {
    let store = Arc::new(InMemory::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let foreign = Path::from("log/log/00000000000000000000/00000000000000000000");
    let put = store.put(&foreign, "a holiday picture, long enough to be one".into());
    runtime.block_on(put).unwrap();
    let refused = refusal(store);
    assert!(refused.contains(foreign.as_ref()), "{refused}");
    assert!(refused.contains("something else"), "{refused}");
    assert!(
        refused.contains("opening the log at InMemory/log: "),
        "{refused}"
    );
}

#[test]
fn options_and_prefixes_out_of_range_are_named() {
    let open = |prefix: &str, options| {
        ObjectStorage::new(Arc::new(InMemory::new()), prefix, options)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let wrong = Options {
        in_flight: 0,
        ..Options::default()
    };
    assert!(open("log", wrong).contains("in_flight"));
    assert!(open("a//b", Options::default()).contains("a//b"));
}
