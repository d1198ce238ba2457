//! `PutMode::Create` is exclusive, however the requests meet; and not, in a store said to be broken.

use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{Error, ObjectStore, PutMode};
use wal_s3::sim::{Faults, Profile, SimStore};

/// Sixteen clients create the same key at once: the numbers of those that were told it is theirs.
async fn race(store: &SimStore, faults: Faults) -> Vec<usize> {
    let key = Path::from("contended");
    let attempts = (0..16).map(|n| {
        let (client, key) = (store.client(&format!("client {n}")), key.clone());
        client.set_faults(faults);
        tokio::spawn(async move {
            let put = client.put_opts(&key, vec![n as u8].into(), PutMode::Create.into());
            match put.await {
                Ok(_) => true,
                Err(Error::AlreadyExists { .. }) => false,
                Err(other) => panic!("{other}"),
            }
        })
    });
    let won = join_all(attempts).await;
    (0..16).filter(|n| *won[*n].as_ref().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn one_of_sixteen_creates() {
    let mut winners = [0; 16];
    for seed in 0..200 {
        let store = SimStore::new(seed).with_profile(Profile::S3);
        let won = race(&store, Faults::default()).await;
        assert_eq!(won.len(), 1, "seed {seed}: {won:?}");
        assert_eq!(store.raw("contended").unwrap()[..], [won[0] as u8]);
        winners[won[0]] += 1;
    }
    let different = winners.iter().filter(|won| **won > 0).count();
    assert!(different > 8, "the order never varies: {winners:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_sixteen_creates_on_threads() {
    for seed in 0..100 {
        let won = race(&SimStore::new(seed), Faults::default()).await;
        assert_eq!(won.len(), 1, "seed {seed}: {won:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_create_overwrites() {
    let faults = Faults {
        ignores_create: true,
        ..Faults::default()
    };
    assert_eq!(race(&SimStore::new(1), faults).await.len(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_looks_before_it_stores_overwrites_in_races_only() {
    let faults = Faults {
        races_create: true,
        ..Faults::default()
    };
    for profile in [Profile::NONE, Profile::S3] {
        let store = SimStore::new(1).with_profile(profile);
        assert!(race(&store, faults).await.len() > 1);
        assert_eq!(race(&store, faults).await.len(), 0, "it is there already");
    }
}
