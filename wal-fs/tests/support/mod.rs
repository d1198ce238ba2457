//! A scripted workload over a simulated disk, and the oracle that says what must and what may
//! be recovered after it was cut short.

// Each test uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use wal_core::{Append, Durability, Error, Lsn, Options, Recovery, Wal};
use wal_fs::sim::{Fault, Metadata, SimDisk};

pub(crate) const LOG: &str = "/srv/log";

pub(crate) const BOTH: [Metadata; 2] = [Metadata::Journalled, Metadata::Strict];

/// `WAL_SIM_SEEDS`: more seeds for a longer run.
pub(crate) fn seeds(default: u64) -> std::ops::Range<u64> {
    let seeds = std::env::var("WAL_SIM_SEEDS").ok();
    0..seeds
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(default)
}

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 16 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

pub(crate) fn open(disk: &SimDisk) -> Result<(Wal, Recovery), Error> {
    Wal::open(disk.storage(LOG)?, options())
}

/// What a log may and must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    /// Every record that was ever given to the log and may be in it.
    records: Vec<Vec<u8>>,
    /// Where appends end, as numbers of records.
    boundaries: Vec<usize>,
    /// Records below were acknowledged as durable.
    durable: usize,
    /// Records below were acknowledged as accepted: a kill does not lose them.
    accepted: usize,
    /// The highest LSN that was ever released.
    released: u64,
    serial: u64,
}

/// How an append ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Done,
    Full,
    /// The handle is of no more use.
    Broken,
}

impl Oracle {
    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.serial += 1;
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(length.max(8), self.serial.to_le_bytes()[0] | 1);
        payload
    }

    /// Appends records atomically and waits.
    pub(crate) fn append(
        &mut self,
        wal: &Wal,
        lengths: &[usize],
        durability: Durability,
    ) -> Outcome {
        let records: Vec<_> = lengths.iter().map(|length| self.payload(*length)).collect();
        let append: Append = records.iter().collect();
        let before = (self.records.len(), self.boundaries.len());
        self.records.extend(records);
        self.boundaries.push(self.records.len());
        let ended = match durability {
            Durability::Durable => wal.commit(append),
            Durability::Accepted => wal.append_with(append, durability).and_then(|it| it.wait()),
        };
        match ended {
            Ok(lsns) => {
                assert_eq!(
                    lsns.end.get() as usize,
                    self.records.len(),
                    "LSNs are dense"
                );
                self.accepted = self.records.len();
                if durability == Durability::Durable {
                    self.durable = self.records.len();
                }
                Outcome::Done
            }
            Err(Error::Full(_)) => {
                self.records.truncate(before.0);
                self.boundaries.truncate(before.1);
                Outcome::Full
            }
            Err(Error::Poisoned { .. }) => {
                assert!(wal.commit("never").is_err(), "a poisoned handle took more");
                Outcome::Broken
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Releases all that is durable: the next roll deletes the segment that it leaves.
    pub(crate) fn release_all(&mut self, wal: &Wal) -> Outcome {
        self.released = self.released.max(wal.durable().get());
        match wal.release(wal.durable()) {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Broken,
        }
    }

    /// Releases everything below the newest segment, and waits until it is deleted.
    pub(crate) fn release(&mut self, wal: &Wal, disk: &SimDisk) -> Outcome {
        let before = wal.newest_segment();
        self.released = self.released.max(before.get());
        if wal.release(before).is_err() {
            return Outcome::Broken;
        }
        for _ in 0..20_000 {
            // The next segment may have been announced, and stands there already.
            let done = segments(disk)
                .iter()
                .all(|path| first(path) >= before.get());
            if done || disk.has_struck() {
                break;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Outcome::Done
    }

    pub(crate) fn synced(&mut self) {
        self.durable = self.records.len();
    }

    pub(crate) fn power_was_lost(&mut self) {
        self.accepted = self.durable;
    }

    pub(crate) fn end(&self) -> usize {
        self.records.len()
    }

    /// Opens the log and checks what it holds; from then on that is what it must hold.
    pub(crate) fn reopen(&mut self, disk: &SimDisk, lost_power: bool) -> Wal {
        check_names(disk);
        let opened = open(disk);
        let (wal, recovery) = opened.unwrap_or_else(|error| self.fail(disk, &error.to_string()));
        self.check(disk, &recovery, lost_power);
        self.read(disk, &wal);
        wal
    }

    /// G1, G2, G3 of what an open says that it found.
    pub(crate) fn check(&mut self, disk: &SimDisk, recovery: &Recovery, lost_power: bool) {
        let end = recovery.end.get() as usize;
        let promised = if lost_power {
            self.durable
        } else {
            self.accepted
        };
        if end < promised || end > self.records.len() {
            let appended = self.records.len();
            self.fail(
                disk,
                &format!("{end} recovered, {promised} promised, {appended} appended"),
            );
        }
        let whole = end == 0 || self.boundaries.contains(&end);
        assert!(whole, "record {end} is inside an append");
        assert!(recovery.oldest.get() <= self.released);
        self.records.truncate(end);
        self.boundaries.retain(|boundary| *boundary <= end);
        // An open makes durable what it shows (G5).
        (self.durable, self.accepted) = (end, end);
    }

    /// G4: a log that opens although something is gone has all that was acknowledged.
    pub(crate) fn must_reach(&self, disk: &SimDisk, end: u64, harm: &str) {
        if end < self.durable as u64 {
            let promised = self.durable;
            self.fail(
                disk,
                &format!("{end} of {promised} are there, and no error, after {harm}"),
            );
        }
    }

    pub(crate) fn read(&self, disk: &SimDisk, wal: &Wal) {
        match self.read_until_error(disk, wal) {
            Ok(end) => assert_eq!(end, wal.durable().get(), "the reader stopped early"),
            Err(error) => self.fail(disk, &error.to_string()),
        }
    }

    /// Reads and compares; where it ended.
    fn read_until_error(&self, disk: &SimDisk, wal: &Wal) -> Result<u64, Error> {
        let oldest = wal.oldest();
        let mut next = oldest.get();
        for record in wal.reader(oldest)? {
            let record = record?;
            assert_eq!(record.lsn, Lsn::new(next));
            let expected = self.records.get(next as usize);
            if expected.map(Vec::as_slice) != Some(record.payload.as_ref()) {
                self.fail(disk, &format!("LSN {next} has other contents"));
            }
            next += 1;
        }
        Ok(next)
    }

    fn fail(&self, disk: &SimDisk, why: &str) -> ! {
        panic!("{why}\n{}\n{:#?}", disk.trace().join("\n"), disk.files());
    }
}

/// The first LSN of a segment, by its name.
pub(crate) fn first(path: &Path) -> u64 {
    let name = path.file_stem().unwrap().to_str().unwrap();
    name.split_once('-').unwrap().1.parse().unwrap()
}

pub(crate) fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let files = disk.files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.extension().is_some_and(|it| it == "wal"))
        .collect()
}

/// The old name of a recycled file never stands over new content. (The new name over old
/// content is what every recycled segment begins with.)
pub(crate) fn check_names(disk: &SimDisk) {
    for path in segments(disk) {
        let bytes = disk.contents(&path).unwrap();
        if bytes.len() < 160 || bytes[..8] != *b"\x89WALseg\n" {
            continue;
        }
        let header = u64::from_le_bytes(bytes[56..64].try_into().unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        let named: u64 = name.split('-').next().unwrap().parse().unwrap();
        let trace = || disk.trace().join("\n");
        assert!(
            header <= named,
            "{name} holds segment {header}\n{}",
            trace()
        );
    }
}

/// Appends, rolls, releases (so that files are recycled), closes, opens again; ends early when
/// something breaks. Returns the handle, if there still is one.
pub(crate) fn workload(disk: &SimDisk, oracle: &mut Oracle) -> Option<Wal> {
    let mut wal = first_open(disk)?;
    for round in 0..3 {
        for step in 0..9 {
            let lengths: &[usize] = match step % 4 {
                0 => &[9000],
                1 => &[100, 0, 5000],
                2 => &[14_000],
                _ => &[7000, 20],
            };
            let durability = match (round, step % 3) {
                (1, 2) => Durability::Accepted,
                _ => Durability::Durable,
            };
            // Once, so much is only accepted that a segment is begun while the one before is unsynced.
            let burst = if (round, step) == (2, 8) { 6 } else { 0 };
            let accepted = [([11_000].as_slice(), Durability::Accepted)].repeat(burst);
            for (lengths, durability) in accepted.into_iter().chain([(lengths, durability)]) {
                if oracle.append(&wal, lengths, durability) == Outcome::Broken {
                    assert!(disk.has_struck(), "broken without a fault");
                    return Some(wal);
                }
            }
            let released = match step % 4 {
                3 if round % 2 == 0 => oracle.release(&wal, disk),
                _ if round % 2 == 1 => oracle.release_all(&wal),
                _ => Outcome::Done,
            };
            if released == Outcome::Broken {
                assert!(disk.has_struck(), "broken without a fault");
                return Some(wal);
            }
        }
        match wal.close() {
            Ok(()) => oracle.synced(),
            Err(error) => {
                assert!(disk.has_struck(), "{error}");
                return None;
            }
        }
        // An accepted append may have become durable, or not: closing says so.
        wal = match open(disk) {
            Ok((wal, recovery)) => {
                oracle.check(disk, &recovery, false);
                wal
            }
            Err(_) => return None,
        };
    }
    if let Err(error) = oracle.read_until_error(disk, &wal) {
        assert!(disk.has_struck(), "{error}");
    }
    Some(wal)
}

fn first_open(disk: &SimDisk) -> Option<Wal> {
    open(disk).ok().map(|(wal, _)| wal)
}

/// Runs the workload until the fault strikes; `None` if it ends before.
pub(crate) fn struck(
    seed: u64,
    metadata: Metadata,
    at: u64,
    fault: Fault,
) -> Option<(SimDisk, Oracle, Option<Wal>)> {
    let disk = SimDisk::new((seed << 32) + at, metadata);
    let mut oracle = Oracle::default();
    disk.noise(seed % 2 == 1);
    disk.at(at, fault);
    let wal = workload(&disk, &mut oracle);
    disk.has_struck().then_some((disk, oracle, wal))
}

/// Some more appends, and a roll.
pub(crate) fn append_more(disk: &SimDisk, oracle: &mut Oracle, wal: &Wal) {
    for length in [3000, 15_000, 15_000, 15_000, 15_000, 15_000] {
        let outcome = oracle.append(wal, &[length, 1], Durability::Durable);
        assert_eq!(outcome, Outcome::Done, "{}", disk.trace().join("\n"));
    }
}
