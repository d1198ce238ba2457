//! S5: before a feed loses its partitions, everything from them is stored and acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tempfile::tempdir;

use crate::support::{NumberFeed, open_log, receive};

#[test]
fn what_was_received_is_acknowledged_and_flushed_before_the_next_receive() {
    let dir = tempdir().unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let flushed = Arc::new(Mutex::new(Vec::new()));
    let (told, seen, at_flush) = (
        Arc::clone(&acknowledged),
        Arc::clone(&acknowledged),
        Arc::clone(&flushed),
    );
    let feed = NumberFeed {
        leave_at: Some(33),
        on_acknowledge: Box::new(move |next| told.store(next, Ordering::Relaxed)),
        on_flush: Box::new(move || at_flush.lock().push(seen.load(Ordering::Relaxed))),
        ..NumberFeed::new(50)
    };
    let report = receive(feed, &open_log(dir.path())).unwrap();
    assert_eq!(report.records, 50);
    assert_eq!(*flushed.lock(), [33, 50]);
}
