//! How blocked callers wait for a group commit.
//!
//! All who joined one group sleep on one word and are woken by one system call, without a
//! lock. Groups take turns on two words, so that a wake does not disturb those who wait for
//! the next group.
//!
//! No wake-up is lost: the kernel puts a sleeper to sleep only while the word is as it was before the
//! sleeper looked, and whoever rings changes the word before it wakes those who sleep.

use crate::planted::planted;
use crate::sync::Word;

/// The two words, which change with every ring.
#[derive(Debug, Default)]
pub(crate) struct Bells([Word; 2]);

/// Which bells are to ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ring([bool; 2]);

impl Ring {
    pub(crate) fn add(&mut self, group: u32) {
        let [even, odd] = &mut self.0;
        *(if group.is_multiple_of(2) { even } else { odd }) = true;
    }

    pub(crate) fn merge(&mut self, other: Ring) {
        for (ring, more) in self.0.iter_mut().zip(other.0) {
            *ring |= more;
        }
    }

    pub(crate) fn both() -> Self {
        Ring([true; 2])
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [false; 2]
    }
}

impl Bells {
    fn of(&self, group: u32) -> &Word {
        let [even, odd] = &self.0;
        if group.is_multiple_of(2) { even } else { odd }
    }

    /// Sleeps until `ready` has something to say; looks again whenever the group's bell rings.
    pub(crate) fn sleep_until<T>(&self, group: u32, mut ready: impl FnMut() -> Option<T>) -> T {
        let bell = self.of(group);
        loop {
            let seen = bell.get();
            if let Some(outcome) = ready() {
                return outcome;
            }
            let seen = if planted("word-read-too-late") {
                bell.get()
            } else {
                seen
            };
            bell.sleep(seen);
        }
    }

    /// Wakes everyone who sleeps on these words.
    pub(crate) fn ring(&self, ring: Ring) {
        for (bell, _) in self.0.iter().zip(ring.0).filter(|(_, ring)| *ring) {
            bell.change();
            bell.wake_all();
        }
    }
}
