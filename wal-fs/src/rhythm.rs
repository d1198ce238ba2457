//! Whether a log is one that syncs nearly every frame.
//!
//! Such a log gains from segments whose blocks were written before, however large its frames
//! are. A log that is written in bulk and synced now and then does not, and would pay for
//! every byte twice. The rule: a synced frame counts two, one that is not synced takes one
//! away, between 0 and 8; at 8 the log is steady, and it stays so while it is above 4. So
//! four synced frames in a row are enough, a quiet log's marks do not matter, and a bulk
//! log, whose segments begin with one synced frame each, never gets there. Seals, synced in
//! any log, do not count.

/// The count, over all segments of one writer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rhythm {
    count: u8,
    steady: bool,
}

impl Rhythm {
    const MOST: u8 = 8;

    pub(crate) fn frame(&mut self, synced: bool) {
        self.count = match synced {
            true => (self.count + 2).min(Self::MOST),
            false => self.count.saturating_sub(1),
        };
        self.steady = self.count == Self::MOST || (self.steady && self.count > Self::MOST / 2);
    }

    /// Whether its next segment is worth preparing.
    pub(crate) fn is_steady(self) -> bool {
        self.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(frames: impl IntoIterator<Item = bool>) -> bool {
        let mut rhythm = Rhythm::default();
        frames.into_iter().for_each(|synced| rhythm.frame(synced));
        rhythm.is_steady()
    }

    #[test]
    fn every_frame_synced_is_steady_soon_and_bulk_never_is() {
        assert!(!after([true; 3]));
        assert!(after([true; 4]));
        // A commit, a mark, a commit, a mark.
        assert!(after((0..30).map(|n| n % 2 == 0)));
        // One synced frame at the start of a segment, many others, a seal.
        for others in [2, 3, 64] {
            assert!(!after((0..1000).map(|n| n % (others + 1) == 0)), "{others}");
        }
    }

    #[test]
    fn a_log_that_turns_to_bulk_is_steady_no_more() {
        assert!(after([true, true, true, true, false, true]));
        assert!(!after([true, true, true, true, false, false, false, false]));
    }
}
