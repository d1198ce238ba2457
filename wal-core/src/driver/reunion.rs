//! Whether the next frame waits for those whom the last one woke, where storage takes one frame at a
//! time.
//!
//! Callers that append in a loop, each waiting for its own, fall into two halves if nobody waits: one
//! sleeps while the other's frame is written, and each frame is half as full as it could be. If the
//! next frame waits until as many records have come as were acknowledged, all of them meet in one frame,
//! for half of the syncs. What that costs is the time they take to come back, with the storage idle.
//! Which is faster depends on the device, the processors and the callers, so it is measured: some frames
//! in one way, some in the other, and then the better one is kept, and the other tried now and then.
//!
//! The wait ends after one and a half times a write's usual duration, less if others wait already:
//! their share of the next frame. Who was let down asks more and more seldom: callers may have
//! something else to do.

use std::time::{Duration, Instant};

use crate::Lsn;

/// So many frames are written in one way before the ways are compared.
const TRIAL: u32 = 128;
/// One trial of so many is of the way that was slower.
const DOUBT: u32 = 32;
/// By how much reunions must be faster.
const GAIN: f64 = 1.03;
/// For so many frames at most nobody is waited for after a disappointment.
const LONGEST: u32 = 64;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct Reunion {
    /// Where the log ends once all have come, and until when they are waited for.
    expected: Option<(Lsn, Instant)>,
    failed: bool,
    patience: u32,
    skip: u32,
    trial: Trial,
    trials: u32,
    /// Records a second in the last trial with reunions, and in the last one without; 0 before.
    together: f64,
    apart: f64,
}

/// Frames that are written in one way.
#[derive(Debug, Default)]
struct Trial {
    apart: bool,
    since: Option<Instant>,
    frames: u32,
    records: u64,
}

impl Reunion {
    /// So many records were acknowledged, and so many wait for the next frame; the log ends at `next`,
    /// and a write usually takes so long.
    pub(super) fn woke(
        &mut self,
        now: Instant,
        (acknowledged, waiting): (u64, u64),
        next: Lsn,
        usual: Duration,
    ) {
        self.measure(now, acknowledged);
        let all = acknowledged.saturating_add(waiting).max(1);
        let share = acknowledged as f64 / all as f64;
        let limit = usual.mul_f64(1.5 * share);
        self.expected = Some((next.plus(acknowledged), now + limit));
    }

    fn measure(&mut self, now: Instant, acknowledged: u64) {
        let trial = &mut self.trial;
        let since = *trial.since.get_or_insert(now);
        trial.records += acknowledged;
        trial.frames += 1;
        if trial.frames < TRIAL {
            return;
        }
        let rate = trial.records as f64 / (now - since).as_secs_f64().max(1e-9);
        *(if trial.apart {
            &mut self.apart
        } else {
            &mut self.together
        }) = rate;
        self.trials = self.trials.wrapping_add(1);
        // The first trial is with reunions, so the second is without.
        let better = self.apart > 0.0 && self.together > self.apart * GAIN;
        self.trial = Trial {
            apart: better == self.trials.is_multiple_of(DOUBT),
            since: Some(now),
            ..Trial::default()
        };
    }

    /// Whom the next frame waits for, if for anybody.
    pub(super) fn expected(&mut self) -> Option<(Lsn, Instant)> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        if !std::mem::take(&mut self.failed) {
            self.patience = 0;
        }
        self.expected.take().filter(|_| !self.trial.apart)
    }

    /// They did not come in time.
    pub(super) fn failed(&mut self) {
        self.failed = true;
        self.patience = (self.patience * 2).clamp(1, LONGEST);
        self.skip = self.patience;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    /// 64 callers: frames of 64 with reunions, of 32 without, each taking so long.
    fn run(frames: u32, together: u32, apart: u32) -> (u32, u32) {
        let (mut reunion, mut now, mut counts) = (Reunion::default(), Instant::now(), (0, 0));
        for _ in 0..frames {
            let (records, took) = match reunion.trial.apart {
                false => (64, together),
                true => (32, apart),
            };
            now += took * MICRO;
            reunion.woke(now, (records, 0), Lsn::new(1), 100 * MICRO);
            let waits = reunion.expected().is_some();
            *(if waits { &mut counts.0 } else { &mut counts.1 }) += 1;
        }
        counts
    }

    #[test]
    fn the_faster_way_is_found_and_kept() {
        let (together, apart) = run(100 * TRIAL, 300, 200);
        assert!(together > 20 * apart, "{together} {apart}");
        let (together, apart) = run(100 * TRIAL, 500, 200);
        assert!(apart > 20 * together, "{together} {apart}");
    }

    #[test]
    fn a_wait_lasts_as_long_as_it_may_pay() {
        let (mut reunion, now) = (Reunion::default(), Instant::now());
        reunion.woke(now, (64, 0), Lsn::new(7), 100 * MICRO);
        assert_eq!(
            reunion.expected(),
            Some((Lsn::new(71), now + 150 * MICRO)),
            "nobody else waits"
        );
        reunion.woke(now, (32, 32), Lsn::new(7), 100 * MICRO);
        assert_eq!(reunion.expected(), Some((Lsn::new(39), now + 75 * MICRO)));
    }

    #[test]
    fn who_is_let_down_asks_more_seldom() {
        let (mut reunion, now, mut asked) = (Reunion::default(), Instant::now(), 0);
        for _ in 0..TRIAL {
            reunion.woke(now, (1, 0), Lsn::new(1), MICRO);
            if reunion.expected().is_some() {
                asked += 1;
                reunion.failed();
            }
        }
        assert!((6..=8).contains(&asked), "{asked}"); // 1 + 2 + 4 + ... frames in between
    }
}
