//! Clients stop, lose their network and die, with requests under way.

use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutResult, Result};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use wal_s3::sim::{Profile, SimStore};

const LONG: Duration = Duration::from_secs(10);

fn put(store: &SimStore, key: &str) -> JoinHandle<Result<PutResult>> {
    let (store, key) = (store.clone(), Path::from(key));
    tokio::spawn(async move {
        let put = store.put_opts(&key, vec![0].into(), PutMode::Create.into());
        put.await
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_paused_client_sent_lands_after_it_resumes() {
    for profile in [Profile::NONE, Profile::S3] {
        let store = SimStore::new(1).with_profile(profile);
        let writer = store.client("writer");
        let under_way = (profile != Profile::NONE).then(|| put(&writer, "under way"));
        sleep(Duration::from_millis(1)).await;
        writer.pause();
        let begun = put(&writer, "begun");
        sleep(LONG).await;
        assert_eq!(store.keys(), []);
        store
            .put(&Path::from("of another"), vec![0].into())
            .await
            .unwrap();

        writer.resume();
        begun.await.unwrap().unwrap();
        if let Some(under_way) = under_way {
            under_way.await.unwrap().unwrap();
            assert!(store.raw("under way").is_some());
        }
        assert!(store.raw("begun").is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_client_gave_up_while_paused_lands_after_it_resumes_or_never() {
    let store = SimStore::new(1).with_profile(Profile::S3);
    let writer = store.client("writer");
    writer.pause();
    for n in 0..200 {
        let key = Path::from(format!("{n}"));
        let put = writer.put(&key, vec![0].into());
        assert!(timeout(Duration::from_millis(20), put).await.is_err());
    }
    sleep(LONG).await;
    assert_eq!(store.keys().len(), 0);
    writer.resume();
    let landed = store.keys().len();
    assert!((60..140).contains(&landed), "{landed}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_fails_all_requests_and_those_under_way_may_have_landed() {
    let store = SimStore::new(1).with_profile(Profile::S3);
    let writer = store.client("writer");
    let puts: Vec<_> = (0..200).map(|n| put(&writer, &n.to_string())).collect();
    sleep(Duration::from_millis(2)).await;
    writer.cut();
    for put in puts {
        assert!(put.await.unwrap().is_err());
    }
    let requests = store.requests();
    assert!(put(&writer, "later").await.unwrap().is_err());
    assert_eq!(store.requests(), requests, "it never got there");
    sleep(LONG).await;
    let landed = store.keys().len();
    assert!((60..140).contains(&landed), "{landed}");

    writer.resume();
    put(&writer, "later").await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_killed_client_hears_nothing_more() {
    let store = SimStore::new(1).with_profile(Profile::S3);
    let writer = store.client("writer");
    let puts: Vec<_> = (0..200).map(|n| put(&writer, &n.to_string())).collect();
    sleep(Duration::from_millis(2)).await;
    writer.kill();
    writer.resume();
    let later = put(&writer, "later");
    sleep(LONG).await;
    assert!(puts.iter().all(|put| !put.is_finished()));
    later.await.unwrap().unwrap_err();
    let landed = store.keys().len();
    assert!((60..140).contains(&landed), "{landed}");
    assert!(store.raw("later").is_none());
    put(&store, "of another").await.unwrap().unwrap();
}
