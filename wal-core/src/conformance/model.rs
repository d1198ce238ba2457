//! A plain model of a log, and what it says a log may and must hold.
//!
//! [`Model::run`] does one step of a history to a real log and to the model, and panics where
//! they differ. It knows the exact bytes of every record, what was acknowledged, and what a
//! crash may take: so it is the oracle of the property tests, of the fuzz targets and of
//! [`histories_agree_with_the_model`](super::histories_agree_with_the_model).
//!
//! ```
//! use wal_core::conformance::model::{Harm, Model, Op, Setup};
//! use wal_core::sim::SimStorage;
//! let mut model = Model::new(SimStorage::new(7), Setup::default());
//! model.run(Op::Append { lengths: vec![100, 5000], durable: true });
//! model.run(Op::Crash);
//! model.run(Op::Read);
//! model.end(Some(Harm::Flip { segment: 0, place: 9999 }));
//! ```

mod harm;
mod op;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Place;
use crate::{
    Commit, Compression, Durability, Error, Hold, Lsn, OnFull, Options, Receipt, Recovery, Storage,
    Wal,
};

pub use harm::Harm;
pub use op::{Choose, Op, Setup, random};

/// Small, so that segments roll often.
fn options(setup: Setup) -> Options {
    Options {
        compression: if setup.compress {
            Compression::Lz4
        } else {
            Compression::None
        },
        segment_bytes: 64 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

/// A log at a [`Place`], and what it may and must hold.
pub struct Model<P: Place> {
    place: P,
    setup: Setup,
    wal: Option<Wal>,
    /// Every record that was appended and may be in the log.
    records: Vec<Vec<u8>>,
    /// Where appends end, as numbers of records.
    boundaries: BTreeSet<usize>,
    /// Records below were acknowledged as durable.
    durable: usize,
    /// Records below were acknowledged as accepted: the end of the process does not lose them.
    accepted: usize,
    /// Appends that nobody has waited for.
    begun: Vec<(Commit, bool)>,
    /// The highest LSN that was ever released.
    released: u64,
    serial: u64,
    /// Proof of something acknowledged, kept outside of the log.
    receipt: Option<Receipt>,
    holds: BTreeMap<String, Lsn>,
    /// What the holds may be as well, after changes of which it is not known if they were stored.
    maybe_holds: Vec<BTreeMap<String, Lsn>>,
    hold: Option<Hold>,
    /// There is no room for another segment.
    full: bool,
    /// A write or a sync was told to fail.
    failing: bool,
    /// All that ever stood at an LSN: what damage may bring back.
    ever: BTreeMap<u64, Vec<Vec<u8>>>,
    truncated: bool,
    /// The highest segment when the log was opened or truncated.
    opened_at: u64,
    /// What was done, for the message when something is wrong.
    history: Vec<String>,
}

/// What ended a writer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Crash,
    Kill,
}

impl<P: Place> Model<P> {
    /// Opens the log at a place where there is none yet.
    pub fn new(place: P, setup: Setup) -> Self {
        let mut model = Model {
            place,
            setup,
            wal: None,
            records: Vec::new(),
            boundaries: BTreeSet::from([0]),
            durable: 0,
            accepted: 0,
            begun: Vec::new(),
            released: 0,
            serial: 0,
            receipt: None,
            holds: BTreeMap::new(),
            maybe_holds: Vec::new(),
            hold: None,
            full: false,
            failing: false,
            ever: BTreeMap::new(),
            truncated: false,
            opened_at: 0,
            history: Vec::new(),
        };
        model.open(options(setup), 0);
        model
    }

    /// Ends the history: a crash, an open, a look at everything; and `harm` done to what then
    /// lies there, which must not go unnoticed (G4).
    pub fn end(mut self, harm: Option<Harm>) {
        self.limit(false);
        self.reopen(End::Crash);
        if let Some(harm) = harm {
            self.suffer(harm);
        }
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().expect("the log is open")
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.serial += 1;
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(length.max(8), self.serial as u8);
        payload
    }

    /// Notes an append that may have been taken.
    fn appended(&mut self, payloads: Vec<Vec<u8>>) {
        for payload in payloads {
            let lsn = self.records.len() as u64;
            self.ever.entry(lsn).or_default().push(payload.clone());
            self.records.push(payload);
        }
        self.boundaries.insert(self.records.len());
    }

    /// What lay from `end` on is gone.
    fn cut(&mut self, end: usize) {
        self.records.truncate(end);
        self.boundaries.retain(|boundary| *boundary <= end);
    }

    /// Waits for what was begun; `false` if the handle turned out to be poisoned.
    fn settle(&mut self) -> bool {
        let mut sound = true;
        for (commit, durable) in std::mem::take(&mut self.begun) {
            let lsns = commit.lsns();
            match commit.wait() {
                Ok(_) => self.acknowledge(lsns.end, durable),
                Err(Error::Poisoned { .. }) => sound = false,
                Err(error) => panic!("{error}"),
            }
        }
        sound
    }

    fn acknowledge(&mut self, end: Lsn, durable: bool) {
        let end = index(end);
        self.accepted = self.accepted.max(end);
        if durable {
            self.durable = self.durable.max(end);
        }
    }

    /// Leaves the writer without closing it, and opens the log anew.
    fn reopen(&mut self, how: End) {
        // Not waited for: whatever is acknowledged in this moment counts all the same.
        for (commit, durable) in std::mem::take(&mut self.begun) {
            if commit.is_ready() {
                self.acknowledge(commit.lsns().end, durable);
            }
        }
        self.hold = None;
        let lost_power = how == End::Crash && self.place.crash();
        let killed = lost_power || self.place.kill();
        drop(self.wal.take());
        if !killed {
            // The place knows no end but an orderly one: dropping the handle closed the log.
            self.accepted = self.accepted.max(self.durable);
        }
        // What a failed sync has lost may still be seen, or not.
        let floor = if lost_power || self.failing {
            self.durable
        } else {
            self.durable.max(self.accepted)
        };
        self.open(options(self.setup), floor);
    }

    fn open(&mut self, options: Options, floor: usize) {
        let options = Options {
            receipt: self.receipt,
            ..options
        };
        self.failing = false;
        let mut opened = Wal::open(self.place.open(), options.clone());
        if self.full && matches!(opened, Err(Error::Storage(crate::StorageError::Full(_)))) {
            // What asks for space all the same is told in CRASH_MODEL.md, *Full disks*.
            self.limit(false);
            opened = Wal::open(self.place.open(), options);
        }
        let (wal, recovery) =
            opened.unwrap_or_else(|error| panic!("the log does not open: {error}"));
        self.wal = Some(wal);
        self.check(&recovery, floor);
        self.opened_at = self.segments().last().map_or(0, |meta| meta.id.get());
    }

    /// G1, G2, G3, G5 of what an open found.
    fn check(&mut self, recovery: &Recovery, floor: usize) {
        let end = index(recovery.end);
        assert!(end >= floor, "G1: {end} recovered, {floor} promised");
        assert!(recovery.durable <= recovery.end);
        assert!(
            self.boundaries.contains(&end),
            "G3: {end} is inside an append, or beyond all"
        );
        self.cut(end);
        (self.durable, self.accepted) = (end, end); // an open makes durable what it shows (G5)
        if self.maybe_holds.contains(&recovery.holds) {
            let before = std::mem::replace(&mut self.holds, recovery.holds.clone());
            self.maybe_holds.push(before);
        }
        if !self.full {
            // Without space they stay where they are, and power loss may bring back others.
            self.maybe_holds.clear();
        }
        assert_eq!(recovery.holds, self.holds, "G10: the named holds");
        assert_eq!(self.wal().named_holds(), self.holds);
        self.read();
    }

    /// G2, G10: everything that can be read, is as it was appended, and is all there is.
    fn read(&self) {
        let wal = self.wal();
        let oldest = wal.oldest();
        assert!(
            oldest.get() <= self.released,
            "G10: more is gone than was released"
        );
        let named = self.holds.values().copied();
        let held = named.chain(self.hold.as_ref().map(Hold::from));
        assert!(
            held.min().is_none_or(|from| oldest <= from),
            "G10: what is held is gone"
        );
        let reader = wal.reader(oldest).expect("the oldest record can be read");
        let mut next = oldest;
        for record in reader {
            let record = record.unwrap_or_else(|error| panic!("G1: {error}"));
            assert_eq!(record.lsn, next, "G2: in order, without holes or repeats");
            let expected = self.records.get(index(next));
            assert_eq!(
                expected.map(Vec::as_slice),
                Some(record.payload.as_ref()),
                "G2: LSN {next} has other bytes"
            );
            next = next.plus(1);
        }
        // Nothing is under way but what was begun, and that moves the durable LSN forward only.
        assert!(
            next <= wal.durable(),
            "G10: a reader shows what is not durable"
        );
        assert!(
            !self.begun.is_empty() || next == wal.durable(),
            "G2: the reader stopped early"
        );
    }

    fn segments(&self) -> Vec<crate::SegmentMeta> {
        crate::block::block_on(self.place.open().list()).expect("list")
    }

    fn limit(&mut self, full: bool) {
        self.full = self.place.limit(full) && full;
    }

    /// An LSN between these two.
    fn between(share: u8, low: u64, high: u64) -> Lsn {
        Lsn::new(low + high.saturating_sub(low) * u64::from(share) / 255)
    }
}

impl<P: Place> Drop for Model<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history:\n{}", self.history.join("\n"));
        }
    }
}

fn index(lsn: Lsn) -> usize {
    usize::try_from(lsn.get()).expect("a small log")
}

fn durability(durable: bool) -> Durability {
    if durable {
        Durability::Durable
    } else {
        Durability::Accepted
    }
}

/// Takes nothing when the queue is full, and waits for company as long as it may.
fn flooded(setup: Setup) -> Options {
    Options {
        on_full: OnFull::Fail,
        linger: Duration::from_secs(10),
        frame_bytes: 1 << 20,
        ..options(setup)
    }
}
