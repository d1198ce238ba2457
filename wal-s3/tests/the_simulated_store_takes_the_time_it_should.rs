//! Latencies have the median and the p99 that were asked for, and transfers take their time.

use std::time::Duration;

use futures_util::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::time::Instant;
use wal_s3::sim::{Latency, Profile, SimStore};

/// How long so many PUTs take that begin at the same time, in order of their time.
async fn times(store: &SimStore, requests: usize) -> Vec<Duration> {
    let puts = (0..requests).map(|n| {
        let (store, key) = (store.clone(), Path::from(format!("{n}")));
        tokio::spawn(async move {
            let began = Instant::now();
            let put = store.put_opts(&key, vec![0].into(), PutMode::Overwrite.into());
            put.await.unwrap();
            began.elapsed()
        })
    });
    let mut times: Vec<Duration> = join_all(puts)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    times.sort();
    times
}

fn assert_close(measured: Duration, wanted: Duration, within: f64) {
    let ratio = measured.as_secs_f64() / wanted.as_secs_f64();
    assert!((ratio - 1.0).abs() < within, "{measured:?}, not {wanted:?}");
}

async fn assert_quantiles(profile: Profile, wanted: Latency, requests: usize) {
    let times = times(&SimStore::new(7).with_profile(profile), requests).await;
    let quantile = |q: f64| times[(q * requests as f64) as usize];
    println!("median {:?}, p99 {:?}", quantile(0.5), quantile(0.99));
    assert_close(quantile(0.5), wanted.median, 0.04);
    assert_close(quantile(0.99), wanted.p99, 0.10);
}

#[tokio::test(start_paused = true)]
async fn medians_and_tails_are_right() {
    assert_quantiles(Profile::S3, Profile::S3.put, 2_000).await;
    assert_quantiles(Profile::EXPRESS, Profile::EXPRESS.put, 2_000).await;
}

#[tokio::test(start_paused = true)]
async fn many_requests_one_after_the_other_take_the_sum_of_their_latencies() {
    let store = SimStore::new(3).with_profile(Profile {
        put: Latency {
            median: Duration::from_micros(2_300),
            p99: Duration::from_micros(2_300),
        },
        ..Profile::NONE
    });
    let began = Instant::now();
    for n in 0..500 {
        let key = Path::from(format!("{n}"));
        store.put(&key, vec![0].into()).await.unwrap();
    }
    assert_close(began.elapsed() / 500, Duration::from_micros(2_300), 0.04);
}

#[tokio::test(start_paused = true)]
async fn what_is_transferred_takes_its_time_in_both_directions() {
    let store = SimStore::new(1).with_profile(Profile::S3);
    let key = Path::from("large");
    let began = Instant::now();
    store.put(&key, vec![0; 100_000_000].into()).await.unwrap();
    let up = began.elapsed();
    assert!(up > Duration::from_secs(1) && up < Duration::from_millis(1_200));
    let got = store.get(&key).await.unwrap().bytes().await.unwrap();
    assert_eq!(got.len(), 100_000_000);
    let down = began.elapsed() - up;
    assert!(down > Duration::from_secs(1) && down < Duration::from_millis(1_200));
}

/// How near the median is in real time depends on the machine, so it is printed; what may be
/// relied on is that no answer comes early by more than the timer's error.
#[tokio::test]
async fn in_real_time_it_takes_as_long() {
    let store = SimStore::new(9).with_profile(Profile {
        put: Latency {
            median: Duration::from_millis(4),
            p99: Duration::from_millis(4),
        },
        ..Profile::NONE
    });
    let mut all = Vec::new();
    for _ in 0..300 {
        all.extend(times(&store, 1).await);
    }
    all.drain(..100);
    all.sort();
    println!("{:?} to {:?}, median {:?}", all[0], all[199], all[100]);
    assert!(all[0] > Duration::from_millis(2), "{:?}", all[0]);
}
