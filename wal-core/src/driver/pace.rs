//! When frames leave, where several may be under way.
//!
//! Records are acknowledged in order, so each more frame under way is one more that may hold up
//! those behind it: few full frames are faster than many small ones, and cheaper. Two rules:
//!
//! - *Distance.* While a write is under way, frames that are not full leave at even distances: two
//!   for each place in a write's usual duration. (One for each would be all that fits if every
//!   write took as long; a place is free only when all before it are stored.)
//! - *Company.* Those who were woken together append again together, if they append in a loop.
//!   The next frame waits until as many records have come as were acknowledged, an eighth of a
//!   write's usual duration at most. Otherwise the first would leave alone, and they would never
//!   meet again.
//!
//! An append that comes to an idle log leaves at once: all who were woken for it are there.

use std::time::{Duration, Instant};

use crate::Lsn;

/// What the next frame waits for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// How long a write takes, averaged over the last few.
    usual: Duration,
    /// When the last frame left.
    left: Option<Instant>,
    /// When records were last acknowledged, and where the log ends once as many have come.
    woken: Option<(Instant, Lsn)>,
}

impl Pace {
    pub(super) fn begun(&mut self, now: Instant) {
        self.left = Some(now);
    }

    pub(super) fn finished(&mut self, took: Duration) {
        self.usual = match self.usual.is_zero() {
            true => took,
            false => (self.usual * 7 + took) / 8,
        };
    }

    /// How long a write takes, averaged over the last few.
    pub(super) fn usual(&self) -> Duration {
        self.usual
    }

    /// Records were acknowledged; with as many more the log would end at `company`.
    pub(super) fn woke(&mut self, now: Instant, company: Lsn) {
        self.woken = Some((now, company));
    }

    /// Where the log ends once all who were woken have come.
    pub(super) fn company(&self) -> Option<Lsn> {
        self.woken.map(|(_, company)| company)
    }

    /// From when on the next frame may leave, if the log ends at `end` and `places` frames may be
    /// under way; `None`: at once.
    pub(super) fn next(&self, end: Lsn, places: u32, under_way: bool) -> Option<Instant> {
        let distance = self.usual / (places / 2).max(1);
        let distant = self.left.filter(|_| under_way).map(|left| left + distance);
        let missing = self.woken.filter(|(_, company)| end < *company);
        distant.max(missing.map(|(woken, _)| woken + self.usual / 8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn pace() -> (Pace, Instant) {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.finished(40 * MILLI);
        (pace, now)
    }

    #[test]
    fn an_idle_log_waits_for_nobody() {
        let (mut pace, now) = pace();
        assert_eq!(pace.next(Lsn::new(1), 8, false), None);
        pace.begun(now);
        assert_eq!(pace.next(Lsn::new(1), 8, false), None, "it is stored");
        pace.woke(now, Lsn::new(2));
        assert_eq!(pace.next(Lsn::new(2), 8, false), None, "it is back");
    }

    #[test]
    fn frames_keep_their_distance_while_one_is_under_way() {
        let (mut pace, now) = pace();
        pace.begun(now);
        assert_eq!(pace.next(Lsn::new(1), 8, true), Some(now + 10 * MILLI));
        assert_eq!(pace.next(Lsn::new(1), 2, true), Some(now + 40 * MILLI));
    }

    #[test]
    fn those_who_were_woken_are_waited_for_a_while() {
        let (mut pace, now) = pace();
        pace.begun(now);
        pace.woke(now + 40 * MILLI, Lsn::new(100));
        assert_eq!(pace.next(Lsn::new(99), 8, false), Some(now + 45 * MILLI));
        assert_eq!(pace.next(Lsn::new(100), 8, false), None);
    }
}
