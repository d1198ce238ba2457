//! Ranges, listings, deletions, counters; and the same seed gives the same run.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode};
use tokio::time::Instant;
use wal_s3::sim::{Faults, Profile, Requests, SimStore};

fn store_of(keys: &[&str]) -> SimStore {
    let store = SimStore::new(1);
    for key in keys {
        store.insert(key, Bytes::from_static(b"0123456789"));
    }
    store
}

#[tokio::test]
async fn ranges() {
    let (store, key) = (store_of(&["key"]), Path::from("key"));
    let read = |range: GetRange| {
        let options = GetOptions {
            range: Some(range),
            ..GetOptions::default()
        };
        let (store, key) = (store.clone(), key.clone());
        async move { store.get_opts(&key, options).await?.bytes().await }
    };
    assert_eq!(read(GetRange::Bounded(2..5)).await.unwrap(), "234");
    assert_eq!(read(GetRange::Bounded(8..50)).await.unwrap(), "89");
    assert_eq!(read(GetRange::Offset(7)).await.unwrap(), "789");
    assert_eq!(read(GetRange::Suffix(2)).await.unwrap(), "89");
    assert!(read(GetRange::Offset(10)).await.is_err());
    assert_eq!(store.head(&key).await.unwrap().size, 10);
    assert_eq!(
        store.get_ranges(&key, &[0..1, 3..4]).await.unwrap(),
        ["0", "3"]
    );
    let none = store.get(&Path::from("none")).await;
    assert!(matches!(none, Err(Error::NotFound { .. })));
    store.insert("empty", Bytes::new());
    assert!(
        store
            .get(&Path::from("empty"))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn listings_are_sorted_and_keep_to_their_prefix() {
    let store = store_of(&["a/2", "a/1", "a/sub/1", "ab/1", "b", "a"]);
    let keys = |prefix: Option<&str>, offset: Option<&str>| {
        let prefix = prefix.map(Path::from);
        let all = match offset {
            Some(offset) => store.list_with_offset(prefix.as_ref(), &Path::from(offset)),
            None => store.list(prefix.as_ref()),
        };
        all.map(|meta| meta.unwrap().location.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(None, None).await,
        ["a", "a/1", "a/2", "a/sub/1", "ab/1", "b"]
    );
    assert_eq!(keys(Some("a"), None).await, ["a/1", "a/2", "a/sub/1"]);
    assert_eq!(keys(Some("a"), Some("a/1")).await, ["a/2", "a/sub/1"]);
    assert_eq!(keys(Some("a"), Some("A")).await.len(), 3);
    let level = store
        .list_with_delimiter(Some(&Path::from("a")))
        .await
        .unwrap();
    assert_eq!(level.common_prefixes, [Path::from("a/sub")]);
    assert_eq!(level.objects.len(), 2);
}

#[tokio::test]
async fn long_listings_and_deletions_come_in_pages() {
    let store = SimStore::new(1);
    for n in 0..2_500 {
        store.insert(&format!("wal/{n:05}"), Bytes::new());
    }
    let before = store.requests();
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    assert_eq!(all.len(), 2_500);
    assert!(all.is_sorted_by_key(|meta| meta.location.clone()));
    let keys = stream::iter(all.into_iter().map(|meta| Ok(meta.location)));
    let deleted: Vec<_> = store
        .delete_stream(keys.boxed())
        .try_collect()
        .await
        .unwrap();
    assert_eq!((deleted.len(), store.keys().len()), (2_500, 0));
    let wanted = Requests {
        lists: 3,
        deletes: 3,
        ..Requests::default()
    };
    assert_eq!(store.requests().since(before), wanted);
    store.delete(&Path::from("wal/none")).await.unwrap();
}

#[tokio::test]
async fn requests_of_all_clients_are_counted_and_tampering_is_not() {
    let store = store_of(&["key"]);
    let (other, key) = (store.client("other"), Path::from("key"));
    store.get(&key).await.unwrap();
    other.head(&key).await.unwrap();
    other
        .put(&Path::from("new"), vec![0; 100].into())
        .await
        .unwrap();
    assert!(
        store.damage("key", 3, 0x01) && !store.damage("key", 10, 1) && !store.damage("x", 0, 1)
    );
    assert_eq!(store.raw("key").unwrap(), "0122456789");
    let fork = store.fork(2);
    assert!(store.remove("key") && !store.remove("key"));
    assert_eq!(store.keys(), [("new".to_owned(), 100)]);
    assert_eq!(
        (fork.keys().len(), fork.requests()),
        (2, Requests::default())
    );
    let wanted = Requests {
        puts: 1,
        gets: 1,
        heads: 1,
        bytes_up: 100,
        bytes_down: 10,
        ..Requests::default()
    };
    assert_eq!(store.requests(), wanted);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_simulated_says_so() {
    let (store, key) = (store_of(&["key"]), Path::from("key"));
    let update = PutMode::Update(object_store::UpdateVersion {
        e_tag: None,
        version: None,
    });
    let put = store.put_opts(&key, vec![0].into(), update.into()).await;
    assert!(matches!(put, Err(Error::NotImplemented { .. })));
    assert!(matches!(
        store.put_multipart(&key).await,
        Err(Error::NotImplemented { .. })
    ));
    assert!(matches!(
        store.copy(&key, &key).await,
        Err(Error::NotImplemented { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run() {
    async fn run(seed: u64) -> (Vec<bool>, Vec<(String, u64)>, std::time::Duration) {
        let began = Instant::now();
        let store = SimStore::new(seed).with_profile(Profile::EXPRESS);
        store.set_faults(Faults {
            error_then_stored: 0.3,
            error: 0.3,
            ..Faults::default()
        });
        let mut well = Vec::new();
        for n in 0..100 {
            let key = Path::from(format!("{n}"));
            well.push(store.put(&key, vec![0].into()).await.is_ok());
        }
        (well, store.keys(), began.elapsed())
    }
    let first = run(1).await;
    assert_eq!(first, run(1).await);
    assert_ne!(first.0, run(2).await.0);
}

#[tokio::test]
async fn thousands_of_puts_a_second() {
    let (store, began) = (SimStore::new(1), std::time::Instant::now());
    let bytes = Bytes::from(vec![0; 1_024]);
    for n in 0..20_000 {
        let key = Path::from(format!("{n:06}"));
        let put = store.put_opts(&key, bytes.clone().into(), PutMode::Create.into());
        put.await.unwrap();
    }
    let rate = 20_000.0 / began.elapsed().as_secs_f64();
    println!("{rate:.0} PUTs a second");
    assert!(rate > 5_000.0, "{rate}");
}
