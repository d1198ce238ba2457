//! How long requests take.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::random::Random;

/// A lognormal latency, given by two of its quantiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of the requests are faster. Zero: all take no time.
    pub median: Duration,
    /// One request in a hundred is slower.
    pub p99: Duration,
}

/// How long the requests of a bucket take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Of a PUT.
    pub put: Latency,
    /// Of a GET or HEAD.
    pub get: Latency,
    /// Of a LIST, for each page of 1,000 keys.
    pub list: Latency,
    /// Of a DELETE, for each 1,000 keys.
    pub delete: Latency,
    /// What one request carries; its transfer time is added to its latency. 0: no limit.
    pub bytes_per_second: u64,
}

impl Latency {
    /// No time at all.
    pub const NONE: Latency = Latency::millis(0, 0);

    const fn millis(median: u64, p99: u64) -> Latency {
        Latency {
            median: Duration::from_millis(median),
            p99: Duration::from_millis(p99),
        }
    }

    pub(super) fn draw(self, random: &mut Random) -> Duration {
        const P99_OF_NORMAL: f64 = 2.326_347_9;
        let median = self.median.as_secs_f64();
        if median == 0.0 {
            return Duration::ZERO;
        }
        let sigma = (self.p99.as_secs_f64() / median).max(1.0).ln() / P99_OF_NORMAL;
        let seconds = median * (sigma * random.normal()).exp();
        Duration::try_from_secs_f64(seconds).unwrap_or(self.p99)
    }
}

impl Profile {
    /// No request takes any time.
    pub const NONE: Profile = Profile {
        put: Latency::NONE,
        get: Latency::NONE,
        list: Latency::NONE,
        delete: Latency::NONE,
        bytes_per_second: 0,
    };

    /// Roughly a general purpose bucket, from a machine in its region.
    pub const S3: Profile = Profile::uniform(Latency::millis(20, 60), 100_000_000);

    /// Roughly a bucket in the zone of the machine.
    pub const EXPRESS: Profile = Profile::uniform(Latency::millis(4, 10), 200_000_000);

    const fn uniform(latency: Latency, bytes_per_second: u64) -> Profile {
        Profile {
            put: latency,
            get: latency,
            list: latency,
            delete: latency,
            bytes_per_second,
        }
    }

    pub(super) fn transfer(&self, bytes: u64) -> Duration {
        if self.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(bytes as f64 / self.bytes_per_second as f64)
            .unwrap_or(Duration::MAX)
    }
}

/// Sleeps that are right on average.
///
/// Tokio's timer counts whole milliseconds and always rounds up, and so does the system call under
/// it. So every sleep aims earlier by what those before woke late, and by a different part of a
/// millisecond each, lest all that begin on a tick be rounded the same way.
#[derive(Debug)]
pub(super) struct Alarm {
    /// How late sleeps end, a moving average in nanoseconds.
    late: AtomicI64,
    sleeps: AtomicU64,
}

impl Alarm {
    const TICK: i64 = 1_000_000;

    /// Beyond this the machine is busy, and it is not for the timer to make up for it.
    const MOST: i64 = 2 * Self::TICK;

    pub(super) fn new() -> Alarm {
        Alarm {
            late: AtomicI64::new(Self::TICK / 2),
            sleeps: AtomicU64::new(0),
        }
    }

    pub(super) async fn sleep_until(&self, deadline: Instant) {
        let late = self.late.load(Ordering::Relaxed);
        let early = Duration::from_nanos((late + self.part_of_a_tick()).unsigned_abs());
        let aim = deadline.checked_sub(early).unwrap_or(deadline);
        if aim <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(aim).await;
        let woke = Instant::now().saturating_duration_since(aim).as_nanos() as i64;
        let learnt = late + (woke.min(Self::MOST) - late) / 64;
        self.late.store(learnt, Ordering::Relaxed);
    }

    /// From minus to plus half a tick, evenly spread: multiples of the golden ratio.
    fn part_of_a_tick(&self) -> i64 {
        let nth = self.sleeps.fetch_add(1, Ordering::Relaxed);
        let spread = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        ((spread as i64 * Self::TICK) >> 32) - Self::TICK / 2
    }
}
