//! S1: whatever the storage does, what was acknowledged is in the log after a power cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{Limits, Options, Wal};
use wal_streaming::{Acknowledge, Store, WalStore};

use crate::support::{NumberFeed, numbers, receive};

/// A log that takes its time: what is told too early is told before it is durable.
fn unhurried() -> Options {
    Options {
        linger: Duration::from_millis(1),
        ..Options::default()
    }
}

#[test]
fn the_log_is_durable_before_the_feed_is_told() {
    let limits = Limits {
        align: 1,
        in_flight: 4,
        append_bytes: 64 << 20,
        ..Limits::default()
    };
    let disk = SimStorage::with_limits(7, limits);
    let (wal, _) = Wal::open(disk, unhurried()).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let early = Arc::new(AtomicU64::new(0));
    let seen = (wal.clone(), Arc::clone(&acknowledged), Arc::clone(&early));
    let feed = NumberFeed {
        on_acknowledge: Box::new(move |next| {
            // Every block of ten records has an envelope after it.
            // (A panic here would leave the receiver waiting.)
            if next + next / 10 <= seen.0.durable().get() {
                seen.1.store(next, Ordering::Relaxed);
            } else {
                seen.2.store(next, Ordering::Relaxed);
            }
        }),
        ..NumberFeed::new(500)
    };
    receive(feed, &wal).unwrap();
    assert_eq!(early.load(Ordering::Relaxed), 0, "S1: told too early");
    assert_eq!(acknowledged.load(Ordering::Relaxed), 500);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn a_power_cut_loses_nothing_that_was_acknowledged(seed: u64, cut_at in 0_u64..300) {
        let disk = SimStorage::new(seed);
        let (wal, _) = Wal::open(disk.clone(), unhurried()).unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let (told, cut) = (Arc::clone(&acknowledged), disk.clone());
        let feed = NumberFeed {
            on_acknowledge: Box::new(move |next| {
                told.store(next, Ordering::Relaxed);
                if next >= cut_at {
                    cut.crash();
                }
            }),
            ..NumberFeed::new(300)
        };
        // Ends with an error if the cut came before the end.
        let _ = receive(feed, &wal);
        drop(wal);
        let (wal, _) = Wal::open(disk, Options::default()).unwrap();
        let store = WalStore::open(wal, Acknowledge::Durable).unwrap();
        let stored = store.positions().get(&numbers()).unwrap_or(0);
        prop_assert!(stored >= acknowledged.load(Ordering::Relaxed));
    }
}
