//! Faults happen at their rates, and are what they say.

use std::time::Duration;

use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, Result};
use tokio::time::{sleep, timeout};
use wal_s3::sim::{Faults, Profile, SimStore};

const REQUESTS: usize = 4_000;
const RATE: f64 = 0.2;

/// What a client saw, and whether the object was there afterwards: at once, and in the end.
struct Outcome {
    answer: Option<Result<()>>,
    at_once: bool,
    in_the_end: bool,
}

async fn outcomes(profile: Profile, faults: Faults) -> Vec<Outcome> {
    let store = SimStore::new(11).with_profile(profile);
    store.set_faults(faults);
    let mut outcomes = Vec::new();
    for n in 0..REQUESTS {
        let key = Path::from(format!("{n}"));
        let put = store.put_opts(&key, vec![0].into(), PutMode::Create.into());
        let answer = timeout(Duration::from_secs(5), put).await.ok();
        outcomes.push(Outcome {
            answer: answer.map(|answer| answer.map(drop)),
            at_once: store.raw(key.as_ref()).is_some(),
            in_the_end: false,
        });
    }
    sleep(Duration::from_secs(5)).await;
    for (n, outcome) in outcomes.iter_mut().enumerate() {
        outcome.in_the_end = store.raw(&n.to_string()).is_some();
    }
    outcomes
}

/// `RATE` of all requests end like this, and all others well.
async fn assert_rate(faults: Faults, like_this: impl Fn(&Outcome) -> bool) {
    for profile in [Profile::NONE, Profile::S3] {
        let outcomes = outcomes(profile, faults).await;
        let well = |o: &&Outcome| matches!(o.answer, Some(Ok(()))) && o.at_once && o.in_the_end;
        let failed = outcomes.iter().filter(|o| like_this(o)).count();
        let went_well = outcomes.iter().filter(well).count();
        assert_eq!(failed + went_well, REQUESTS, "{faults:?}");
        let rate = failed as f64 / REQUESTS as f64;
        assert!((rate - RATE).abs() < 0.02, "{rate} of {faults:?}");
    }
}

fn is_generic(answer: &Option<Result<()>>) -> bool {
    matches!(answer, Some(Err(Error::Generic { .. })))
}

#[tokio::test(start_paused = true)]
async fn stored_then_error() {
    let stored_then_error = RATE;
    let faults = Faults {
        stored_then_error,
        ..Faults::default()
    };
    assert_rate(faults, |o| {
        is_generic(&o.answer) && o.at_once && o.in_the_end
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_ghost_lands_later() {
    let error_then_stored = RATE;
    let faults = Faults {
        error_then_stored,
        ..Faults::default()
    };
    assert_rate(faults, |o| {
        is_generic(&o.answer) && !o.at_once && o.in_the_end
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn errors_store_nothing() {
    let error = RATE;
    let faults = Faults {
        error,
        ..Faults::default()
    };
    assert_rate(faults, |o| {
        is_generic(&o.answer) && !o.at_once && !o.in_the_end
    })
    .await;
    let unavailable = RATE;
    let faults = Faults {
        unavailable,
        ..Faults::default()
    };
    assert_rate(faults, |o| {
        is_generic(&o.answer) && !o.at_once && !o.in_the_end
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn conflicts_and_preconditions_out_of_nothing() {
    let spurious_conflict = RATE;
    let faults = Faults {
        spurious_conflict,
        ..Faults::default()
    };
    let conflict = |o: &Outcome| matches!(o.answer, Some(Err(Error::AlreadyExists { .. })));
    assert_rate(faults, |o| conflict(o) && !o.in_the_end).await;
    let spurious_precondition = RATE;
    let faults = Faults {
        spurious_precondition,
        ..Faults::default()
    };
    let precondition = |o: &Outcome| matches!(o.answer, Some(Err(Error::Precondition { .. })));
    assert_rate(faults, |o| precondition(o) && !o.in_the_end).await;
}

#[tokio::test(start_paused = true)]
async fn some_requests_are_never_answered_and_half_of_them_take_effect() {
    let never = RATE;
    let faults = Faults {
        never,
        ..Faults::default()
    };
    assert_rate(faults, |o| o.answer.is_none()).await;
    let outcomes = outcomes(Profile::S3, faults).await;
    let hung = outcomes.iter().filter(|o| o.answer.is_none()).count();
    let took_effect = outcomes
        .iter()
        .filter(|o| o.answer.is_none() && o.in_the_end)
        .count();
    let half = took_effect as f64 / hung as f64;
    assert!((half - 0.5).abs() < 0.06, "{half}");
}

#[tokio::test(start_paused = true)]
async fn a_stale_listing_misses_only_what_is_new() {
    let store = SimStore::new(5);
    let listed = || async {
        store
            .list(None)
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len()
    };
    for n in 0..20 {
        store
            .put(&Path::from(format!("{n}")), vec![0].into())
            .await
            .unwrap();
    }
    store.set_faults(Faults {
        stale_list: 1.0,
        ..Faults::default()
    });
    assert_eq!(listed().await, 12);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(listed().await, 20);
}

#[tokio::test(start_paused = true)]
async fn reads_listings_and_deletions_fail_too() {
    let store = SimStore::new(5);
    let key = Path::from("key");
    store.put(&key, vec![0].into()).await.unwrap();
    store.set_faults(Faults {
        error: 1.0,
        ..Faults::default()
    });
    assert!(store.get(&key).await.is_err());
    assert!(store.list(None).try_collect::<Vec<_>>().await.is_err());
    assert!(store.delete(&key).await.is_err());
    assert!(store.raw("key").is_some());
}
