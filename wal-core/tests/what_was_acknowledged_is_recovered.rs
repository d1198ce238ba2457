//! G1, G2, G3, G5, G10: under random appends, crashes, kills, failed syncs, closes, releases,
//! holds, rewinds and truncations, with and without compression, recovery returns a prefix of
//! what was appended, at an append's boundary, that holds everything acknowledged; and it
//! returns it unchanged, in order and record by record. Receipts agree, named holds hold.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{
    Append, Compression, Durability, Error, Limits, Lsn, Options, Receipt, Recovery, Wal,
};

#[derive(Clone, Debug)]
enum Op {
    Append { lengths: Vec<usize>, durable: bool },
    Commit { length: usize },
    Sync,
    Crash,
    Kill,
    Close,
    FailAfter(u64),
    Release(u8),
    Read,
    Get(u8),
    SetHold(u8, u8),
    RemoveHold(u8),
    Truncate(u8),
    Rewind(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (prop::collection::vec(0..3000usize, 1..6), any::<bool>())
            .prop_map(|(lengths, durable)| Op::Append { lengths, durable }),
        3 => (0..9000usize).prop_map(|length| Op::Commit { length }),
        1 => Just(Op::Sync),
        2 => Just(Op::Crash),
        1 => Just(Op::Kill),
        1 => Just(Op::Close),
        1 => (0..6u64).prop_map(Op::FailAfter),
        1 => any::<u8>().prop_map(Op::Release),
        1 => Just(Op::Read),
        1 => any::<u8>().prop_map(Op::Get),
        1 => (0..3u8, any::<u8>()).prop_map(|(name, share)| Op::SetHold(name, share)),
        1 => (0..3u8).prop_map(Op::RemoveHold),
        1 => any::<u8>().prop_map(Op::Truncate),
        1 => (1..4usize).prop_map(Op::Rewind),
    ]
}

fn options(compress: bool) -> Options {
    Options {
        compression: if compress {
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

/// What may and must be in the log.
struct Model {
    disk: SimStorage,
    wal: Option<Wal>,
    /// Every record ever appended and not known to be gone.
    records: Vec<Vec<u8>>,
    /// Where appends end, as record counts.
    boundaries: Vec<usize>,
    acknowledged: u64,
    accepted: u64,
    released: u64,
    serial: u64,
    compress: bool,
    /// Proof of something acknowledged, kept outside of the log.
    receipt: Option<Receipt>,
    holds: BTreeMap<String, Lsn>,
    /// What the holds may be as well, after a change of which it is not known if it was stored.
    maybe_holds: Option<BTreeMap<String, Lsn>>,
}

impl Model {
    fn new(disk: SimStorage, compress: bool) -> Self {
        let (wal, _) = Wal::open(disk.clone(), options(compress)).unwrap();
        Model {
            disk,
            wal: Some(wal),
            records: Vec::new(),
            boundaries: vec![0],
            acknowledged: 0,
            accepted: 0,
            released: 0,
            serial: 0,
            compress,
            receipt: None,
            holds: BTreeMap::new(),
            maybe_holds: None,
        }
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.serial += 1;
        let serial = self.serial;
        let mut payload = serial.to_le_bytes().to_vec();
        payload.resize(length.max(8), serial as u8);
        payload
    }

    fn appended(&mut self, payloads: Vec<Vec<u8>>) {
        self.records.extend(payloads);
        self.boundaries.push(self.records.len());
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().unwrap()
    }

    fn append(&mut self, lengths: &[usize], durable: bool) {
        let payloads: Vec<_> = lengths.iter().map(|length| self.payload(*length)).collect();
        let append: Append = payloads.iter().collect();
        let durability = if durable {
            Durability::Durable
        } else {
            Durability::Accepted
        };
        let commit = match self.wal().append_with(append, durability) {
            Ok(commit) => commit,
            Err(Error::Poisoned { .. }) => return self.reopen(false),
            Err(error) => panic!("{error}"),
        };
        let lsns = commit.lsns();
        assert_eq!(
            lsns.start.get(),
            self.records.len() as u64,
            "LSNs are dense"
        );
        self.appended(payloads);
        match commit.wait() {
            Ok(_) if durable => self.acknowledged = lsns.end.get(),
            Ok(_) => self.accepted = lsns.end.get(),
            Err(Error::Poisoned { .. }) => self.reopen(false),
            Err(error) => panic!("{error}"),
        }
    }

    fn commit(&mut self, length: usize) {
        let payload = self.payload(length);
        let result = self.wal().commit(payload.as_slice());
        match result {
            Ok(lsns) => {
                self.appended(vec![payload]);
                self.acknowledged = lsns.end.get();
            }
            Err(Error::Poisoned { .. }) => {
                // It may have been taken before the failure.
                self.appended(vec![payload]);
                self.reopen(false);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Leaves the writer without closing it, and opens the log anew.
    fn reopen(&mut self, crash: bool) {
        if crash {
            self.disk.crash();
        } else {
            self.disk.kill();
        }
        drop(self.wal.take());
        self.open(crash);
    }

    fn open(&mut self, crash: bool) {
        let options = Options {
            receipt: self.receipt,
            ..options(self.compress)
        };
        let (wal, recovery) = Wal::open(self.disk.clone(), options).unwrap();
        self.wal = Some(wal);
        self.check(&recovery, crash);
    }

    fn check(&mut self, recovery: &Recovery, crash: bool) {
        let end = recovery.end.get();
        let floor = if crash {
            self.acknowledged
        } else {
            self.acknowledged.max(self.accepted)
        };
        assert!(end >= floor, "{end} recovered, {floor} promised");
        assert!(recovery.durable <= recovery.end);
        let end = usize::try_from(end).unwrap();
        assert!(self.boundaries.contains(&end), "{end} is inside an append");
        self.records.truncate(end);
        self.boundaries.retain(|boundary| *boundary <= end);
        self.acknowledged = end as u64; // an open makes durable what it shows (G5)
        self.accepted = end as u64;
        if let Some(maybe) = self.maybe_holds.take().filter(|it| *it == recovery.holds) {
            self.holds = maybe;
        }
        assert_eq!(recovery.holds, self.holds);
        assert_eq!(self.wal().named_holds(), self.holds);
        self.read();
    }

    fn lsn(&self, share: u8, low: u64, high: u64) -> Lsn {
        Lsn::new(low + high.saturating_sub(low) * u64::from(share) / 255)
    }

    fn get(&self, share: u8) {
        let (wal, oldest) = (self.wal(), self.wal().oldest());
        if wal.durable() == oldest {
            return;
        }
        let lsn = self.lsn(share, oldest.get(), wal.durable().get() - 1);
        let expected = &self.records[usize::try_from(lsn.get()).unwrap()];
        assert_eq!(wal.get(lsn).unwrap().payload, expected);
        let location = wal.locate(lsn).unwrap();
        assert_eq!(wal.read_at(&location).unwrap(), expected);
    }

    fn change_holds(&mut self, name: u8, from: Option<Lsn>) {
        let name = format!("hold {name}");
        let mut after = self.holds.clone();
        let outcome = match from {
            Some(from) => {
                after.insert(name.clone(), from);
                self.wal().set_hold(&name, from)
            }
            None => {
                after.remove(&name);
                self.wal().remove_hold(&name)
            }
        };
        match outcome {
            Ok(()) => self.holds = after,
            Err(Error::Poisoned { .. }) => {
                self.maybe_holds = Some(after);
                self.reopen(false);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn truncate(&mut self, share: u8) {
        let to = self.lsn(share, self.wal().oldest().get(), self.records.len() as u64);
        let mut reader = self.wal().reader(self.wal().oldest()).unwrap();
        let _ = reader.next();
        self.receipt = None;
        let outcome = self.wal().truncate(to);
        let at = usize::try_from(to.get()).unwrap();
        self.boundaries.push(at);
        match outcome {
            Ok(()) => {
                if reader.position() > to {
                    let next = reader.next().unwrap();
                    assert!(matches!(next, Err(Error::Truncated { .. })), "{next:?}");
                } else {
                    assert_eq!(reader.position().plus(reader.count() as u64), to);
                }
                self.records.truncate(at);
                self.boundaries.retain(|boundary| *boundary <= at);
                (self.acknowledged, self.accepted) = (to.get(), to.get());
                assert_eq!((self.wal().end(), self.wal().durable()), (to, to));
            }
            Err(Error::Poisoned { .. }) => {
                // It may or may not have come so far.
                self.acknowledged = self.acknowledged.min(to.get());
                self.accepted = self.accepted.min(to.get());
                drop(reader);
                self.reopen(false);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Appends some without waiting, and takes back all but the first.
    fn rewind(&mut self, appends: usize) {
        let first = self.records.len() as u64;
        let mut commits = Vec::new();
        for _ in 0..=appends {
            let payload = self.payload(50);
            match self
                .wal()
                .append_with(payload.as_slice(), Durability::Accepted)
            {
                Ok(commit) => {
                    self.appended(vec![payload]);
                    commits.push(commit);
                }
                Err(Error::Poisoned { .. }) => return self.reopen(false),
                Err(error) => panic!("{error}"),
            }
        }
        match self.wal().rewind(Lsn::new(first + 1)) {
            Ok(end) => {
                assert!(end.get() > first, "an append below was cancelled");
                let kept = usize::try_from(end.get()).unwrap();
                self.records.truncate(kept);
                self.boundaries.retain(|boundary| *boundary <= kept);
                for commit in commits {
                    let ends = commit.lsns().end;
                    match commit.wait() {
                        Ok(_) => assert!(ends <= end),
                        Err(Error::Rewound { .. }) => assert!(ends > end),
                        Err(Error::Poisoned { .. }) => return self.reopen(false),
                        Err(error) => panic!("{error}"),
                    }
                }
                self.accepted = end.get();
            }
            Err(Error::Poisoned { .. }) => self.reopen(false),
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&self) {
        let wal = self.wal();
        let oldest = wal.oldest();
        assert!(oldest.get() <= self.released);
        assert!(self.holds.values().all(|from| oldest <= *from));
        let found: Vec<_> = wal
            .reader(oldest)
            .unwrap()
            .map(|found| found.unwrap())
            .collect();
        assert_eq!(oldest.plus(found.len() as u64), wal.durable());
        for record in found {
            let index = usize::try_from(record.lsn.get()).unwrap();
            assert_eq!(record.payload, self.records[index], "LSN {}", record.lsn);
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Append { lengths, durable } => self.append(&lengths, durable),
            Op::Commit { length } => self.commit(length),
            Op::Sync => match self.wal().sync() {
                Ok(durable) => {
                    assert_eq!(durable.get(), self.records.len() as u64);
                    self.acknowledged = durable.get();
                    let receipt = self.wal().receipt();
                    assert_eq!(receipt.lsn(), durable);
                    self.receipt = Some(receipt);
                }
                Err(Error::Poisoned { .. }) => self.reopen(false),
                Err(error) => panic!("{error}"),
            },
            Op::Crash => self.reopen(true),
            Op::Kill => self.reopen(false),
            Op::Close => {
                if self.wal.take().unwrap().close().is_ok() {
                    self.acknowledged = self.records.len() as u64;
                }
                self.disk.kill(); // a failed close keeps the role until its process ends
                self.open(false);
            }
            Op::FailAfter(operations) => self.disk.fail_after(operations),
            Op::Release(share) => {
                let before = self.wal().durable().get() * u64::from(share) / 255;
                match self.wal().release(Lsn::new(before)) {
                    Ok(()) => self.released = self.released.max(before),
                    Err(Error::Poisoned { .. }) => self.reopen(false),
                    Err(error) => panic!("{error}"),
                }
            }
            Op::Read => self.read(),
            Op::Get(share) => self.get(share),
            Op::SetHold(name, share) => {
                let (oldest, end) = (self.wal().oldest().get(), self.wal().durable().get());
                let from = self.lsn(share, oldest, end);
                self.change_holds(name, Some(from));
            }
            Op::RemoveHold(name) => self.change_holds(name, None),
            Op::Truncate(share) => self.truncate(share),
            Op::Rewind(appends) => self.rewind(appends),
        }
    }
}

/// `WAL_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("WAL_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    let usual = if cfg!(debug_assertions) { 128 } else { 1024 };
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(asked.unwrap_or(usual))
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn on_a_disk_with_one_append_in_flight(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..60),
        compress in any::<bool>(),
    ) {
        let mut model = Model::new(SimStorage::new(seed), compress);
        ops.into_iter().for_each(|op| model.run(op));
        model.reopen(true);
    }

    #[test]
    fn on_a_store_whose_appends_overtake_each_other(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..60),
        compress in any::<bool>(),
    ) {
        let limits = Limits { align: 1, in_flight: 4, append_bytes: 1 << 20, ..Limits::default() };
        let mut model = Model::new(SimStorage::with_limits(seed, limits), compress);
        ops.into_iter().for_each(|op| model.run(op));
        model.reopen(true);
    }

    #[test]
    fn on_a_store_that_keeps_the_order(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..60),
        compress in any::<bool>(),
    ) {
        let limits = Limits {
            align: 1,
            in_flight: 4,
            append_bytes: 1 << 20,
            segment_appends: 5,
            in_order: true,
        };
        let mut model = Model::new(SimStorage::with_limits(seed, limits), compress);
        ops.into_iter().for_each(|op| model.run(op));
        model.reopen(true);
    }
}
