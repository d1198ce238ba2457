//! What the machine said, what of it was a promise at the moment of a power cut, and whether a log
//! keeps it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use wal_core::Lsn;

use super::disk::Log;
use super::writer::{GROUP, HOLD, open, record};

/// A line from the machine, and how long the disk's log was when it had been heard.
pub(crate) struct Said {
    what: What,
    number: u64,
    life: u64,
    logged: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    /// The log was opened, with so many groups.
    Open,
    /// This group is durable.
    Acknowledged,
    /// The hold stands durably at this LSN.
    Held,
    /// What lies before this LSN is about to be released.
    Releasing,
}

impl Said {
    pub(crate) fn parse(line: &str, logged: u64) -> Option<Self> {
        let mut words = line.split(' ');
        let what = match words.next()? {
            "open" => What::Open,
            "acknowledged" => What::Acknowledged,
            "held" => What::Held,
            "releasing" => What::Releasing,
            _ => return None,
        };
        let number = words.next()?.parse().ok()?;
        let life = words.next()?.parse().ok()?;
        Some(Self {
            what,
            number,
            life,
            logged,
        })
    }

    pub(crate) fn is_an_acknowledgement(&self) -> bool {
        self.what == What::Acknowledged
    }
}

#[derive(Clone, Default)]
pub(crate) struct Promises {
    /// Groups that were acknowledged, and the life in which each was appended.
    groups: BTreeMap<u64, u64>,
    /// The hold stands here, or at a later LSN.
    held: Option<u64>,
    /// Nothing from this LSN on was ever released.
    released: u64,
}

impl Promises {
    /// Those that held when the power went, before this entry of the log.
    pub(crate) fn and(&self, said: &[Said], log: &Log, place: usize) -> Self {
        let mut all = self.clone();
        for said in said {
            let promised = said.logged <= log.bytes_at(place);
            match said.what {
                // It may have happened before it was heard.
                What::Releasing => all.released = all.released.max(said.number),
                What::Acknowledged if promised => {
                    all.groups.insert(said.number, said.life);
                }
                What::Held if promised => all.held = all.held.max(Some(said.number)),
                What::Open => assert!(
                    self.groups.keys().all(|group| *group < said.number),
                    "G1: the machine found {} groups of {self}",
                    said.number
                ),
                What::Acknowledged | What::Held => {}
            }
        }
        all
    }

    /// The log holds what was promised, in order, whole, each record once; and goes on.
    pub(crate) fn check(&self, log: &Path, life: u64) {
        let (wal, recovery) = open(log);
        let (oldest, end) = (recovery.oldest.get(), recovery.end.get());
        assert_eq!(end % GROUP, 0, "G3: an append was torn");
        assert!(
            oldest <= self.released,
            "G10: {oldest} is the oldest, {self}"
        );
        let hold = recovery.holds.get(HOLD).map(|hold| hold.get());
        assert!(
            hold >= self.held,
            "G10: the hold stands at {hold:?}, {self}"
        );
        assert!(
            hold.is_none_or(|hold| oldest <= hold),
            "G10: {oldest} is the oldest, {hold:?} held"
        );
        let last = self
            .groups
            .last_key_value()
            .map_or(0, |(group, _)| group + 1);
        assert!(end >= last * GROUP, "G1: {end} is the end, {self}");
        let (mut next, mut newest) = (oldest, 0);
        for found in wal.reader(recovery.oldest).unwrap() {
            let found = found.unwrap();
            assert_eq!(found.lsn, Lsn::new(next));
            let group = next / GROUP;
            let of = u64::from_le_bytes(found.payload[8..16].try_into().unwrap());
            assert_eq!(found.payload, record(group, of), "G2: group {group}");
            assert!(
                (newest..=life).contains(&of),
                "G2: group {group} of life {of}"
            );
            let promised = self.groups.get(&group);
            assert!(
                promised.is_none_or(|life| *life == of),
                "G1: group {group} of life {of}, {promised:?}"
            );
            (next, newest) = (next + 1, of);
        }
        assert_eq!(next, end, "G2: the reader stops elsewhere");
        let more = wal.commit("more").expect("it goes on");
        assert_eq!(more.start.get(), end);
        wal.close().unwrap();
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.groups.last_key_value();
        let (held, released) = (self.held, self.released);
        write!(
            f,
            "{} acknowledged, the last {last:?}; held at {held:?}, released to {released}",
            self.groups.len()
        )
    }
}
