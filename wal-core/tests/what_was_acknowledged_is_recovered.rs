//! G1, G2, G3, G5: under random appends, crashes, kills, failed syncs, closes and releases,
//! recovery returns a prefix of what was appended, at an append's boundary, that holds
//! everything acknowledged; and it returns it unchanged.

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{Append, Durability, Error, Limits, Lsn, Options, Recovery, Wal};

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
    ]
}

fn options() -> Options {
    Options {
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
}

impl Model {
    fn new(disk: SimStorage) -> Self {
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        Model {
            disk,
            wal: Some(wal),
            records: Vec::new(),
            boundaries: vec![0],
            acknowledged: 0,
            accepted: 0,
            released: 0,
            serial: 0,
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
        let (wal, recovery) = Wal::open(self.disk.clone(), options()).unwrap();
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
        self.read();
    }

    fn read(&self) {
        let wal = self.wal();
        let oldest = wal.oldest();
        assert!(oldest.get() <= self.released);
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
                let (wal, recovery) = Wal::open(self.disk.clone(), options()).unwrap();
                self.wal = Some(wal);
                self.check(&recovery, false);
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
        }
    }
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(if cfg!(debug_assertions) { 128 } else { 1024 })
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn on_a_disk_with_one_append_in_flight(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut model = Model::new(SimStorage::new(seed));
        ops.into_iter().for_each(|op| model.run(op));
        model.reopen(true);
    }

    #[test]
    fn on_a_store_whose_appends_overtake_each_other(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let limits = Limits { align: 1, in_flight: 4, append_bytes: 1 << 20 };
        let mut model = Model::new(SimStorage::with_limits(seed, limits));
        ops.into_iter().for_each(|op| model.run(op));
        model.reopen(true);
    }
}
