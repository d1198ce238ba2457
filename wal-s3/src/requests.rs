//! Counting requests, and what they cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Requests since the storage was opened, by kind.
///
/// ```
/// use wal_s3::{Prices, Requests};
/// let requests = Requests { puts: 1_000_000, ..Requests::default() };
/// assert_eq!(requests.dollars(&Prices::S3_STANDARD).round(), 5.0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Requests {
    /// Uploads, hints and hedges included.
    pub puts: u64,
    /// Whole objects, headers, and looks at what is not there.
    pub gets: u64,
    /// Pages of listings, at least one a listing.
    pub lists: u64,
    /// Objects deleted. (Most stores take many in one request and do not charge for it.)
    pub deletes: u64,
    /// Bytes in uploads.
    pub bytes_up: u64,
    /// Bytes in downloads.
    pub bytes_down: u64,
    /// Requests that were sent again after an error or a timeout; they count above, too.
    pub retries: u64,
    /// Uploads that were sent twice because the first took long; they count above, too.
    pub hedges: u64,
    /// Uploads that met something at their name, so that it had to be looked at.
    pub conflicts: u64,
    /// Microseconds spent waiting after errors.
    pub backoff_micros: u64,
    /// Microseconds spent waiting for the cap on requests.
    pub capped_micros: u64,
}

/// What a store charges, in dollars.
///
/// ```
/// use wal_s3::Prices;
/// let mine = Prices { put: 0.0, ..Prices::S3_STANDARD };
/// assert!(mine.get > 0.0);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Prices {
    /// For an upload.
    pub put: f64,
    /// For a download.
    pub get: f64,
    /// For a page of a listing.
    pub list: f64,
    /// For keeping a GiB for a month.
    pub gib_month: f64,
}

impl Prices {
    /// Amazon S3 Standard in us-east-1, from its published price list (2026).
    pub const S3_STANDARD: Prices = Prices {
        put: 5.0e-6,
        get: 4.0e-7,
        list: 5.0e-6,
        gib_month: 0.023,
    };
    /// Amazon S3 Express One Zone in us-east-1 (2026), without its charge by the byte.
    pub const S3_EXPRESS: Prices = Prices {
        put: 1.13e-6,
        get: 3.0e-8,
        list: 1.13e-6,
        gib_month: 0.11,
    };
}

impl Requests {
    /// What these requests cost; storage and traffic out of the cloud not included.
    #[must_use]
    pub fn dollars(&self, prices: &Prices) -> f64 {
        self.puts as f64 * prices.put
            + self.gets as f64 * prices.get
            + self.lists as f64 * prices.list
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Requests) -> Requests {
        Requests {
            puts: self.puts - earlier.puts.min(self.puts),
            gets: self.gets - earlier.gets.min(self.gets),
            lists: self.lists - earlier.lists.min(self.lists),
            deletes: self.deletes - earlier.deletes.min(self.deletes),
            bytes_up: self.bytes_up - earlier.bytes_up.min(self.bytes_up),
            bytes_down: self.bytes_down - earlier.bytes_down.min(self.bytes_down),
            retries: self.retries - earlier.retries.min(self.retries),
            hedges: self.hedges - earlier.hedges.min(self.hedges),
            conflicts: self.conflicts - earlier.conflicts.min(self.conflicts),
            backoff_micros: self.backoff_micros - earlier.backoff_micros.min(self.backoff_micros),
            capped_micros: self.capped_micros - earlier.capped_micros.min(self.capped_micros),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) puts: AtomicU64,
    pub(crate) gets: AtomicU64,
    pub(crate) lists: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) hedges: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) backoff_micros: AtomicU64,
    pub(crate) capped_micros: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

pub(crate) fn add_time(counter: &AtomicU64, time: Duration) {
    add(counter, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
}

impl Counters {
    pub(crate) fn read(&self) -> Requests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            puts: read(&self.puts),
            gets: read(&self.gets),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
            bytes_up: read(&self.bytes_up),
            bytes_down: read(&self.bytes_down),
            retries: read(&self.retries),
            hedges: read(&self.hedges),
            conflicts: read(&self.conflicts),
            backoff_micros: read(&self.backoff_micros),
            capped_micros: read(&self.capped_micros),
        }
    }
}
