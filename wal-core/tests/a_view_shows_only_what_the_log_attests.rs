//! G10 for a read-only view: whatever the writer does in between (append, roll, release, die,
//! be replaced), the view shows only records that are durable, in order, unchanged; what was
//! released is said to be; and nothing that a live writer does looks like damage.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{Append, Durability, Error, Limits, Lsn, Options, ReadOnly, SegmentId, Wal};

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

#[derive(Clone, Debug)]
enum Op {
    Append { records: usize, length: usize },
    Accept(usize),
    Sync,
    Crash,
    Kill,
    Close,
    Release(u8),
    Look,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..4usize, 8..9000usize).prop_map(|(records, length)| Op::Append { records, length }),
        4 => (8..9000usize).prop_map(Op::Accept),
        1 => Just(Op::Sync),
        1 => Just(Op::Crash),
        1 => Just(Op::Kill),
        1 => Just(Op::Close),
        2 => any::<u8>().prop_map(Op::Release),
        3 => Just(Op::Look),
    ]
}

struct World {
    disk: SimStorage,
    wal: Option<Wal>,
    view: ReadOnly,
    records: Vec<Vec<u8>>,
    serial: u64,
}

impl World {
    fn new(disk: SimStorage) -> World {
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        World {
            view: Wal::open_read_only(disk.clone()).unwrap(),
            wal: Some(wal),
            disk,
            records: Vec::new(),
            serial: 0,
        }
    }

    fn wal(&self) -> &Wal {
        self.wal.as_ref().unwrap()
    }

    fn payload(&mut self, length: usize) -> Vec<u8> {
        self.serial += 1;
        let mut payload = self.serial.to_le_bytes().to_vec();
        payload.resize(length, self.serial as u8);
        self.records.push(payload.clone());
        payload
    }

    fn reopen(&mut self) {
        drop(self.wal.take());
        let (wal, recovery) = Wal::open(self.disk.clone(), options()).unwrap();
        assert!(
            recovery.end >= self.view.durable(),
            "it was shown, and is gone"
        );
        self.records.truncate(recovery.end.get() as usize);
        self.wal = Some(wal);
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Append { records, length } => {
                let group: Append = (0..records).map(|_| self.payload(length)).collect();
                let result = self.wal().commit(group);
                self.settle(result);
            }
            Op::Accept(length) => {
                let payload = self.payload(length);
                let commit = self.wal().append_with(payload, Durability::Accepted);
                self.settle(commit.and_then(|commit| commit.wait()));
            }
            Op::Sync => {
                let result = self.wal().sync();
                self.settle(result);
            }
            Op::Crash => {
                self.disk.crash();
                self.reopen();
            }
            Op::Kill => {
                self.disk.kill();
                self.reopen();
            }
            Op::Close => {
                let closed = self.wal.take().unwrap().close();
                if closed.is_ok() {
                    self.view.refresh().unwrap();
                    assert_eq!(self.view.durable().get(), self.records.len() as u64);
                }
                self.disk.kill(); // a failed close keeps the role
                self.reopen();
            }
            Op::Release(share) => {
                let before = self.wal().durable().get() * u64::from(share) / 255;
                let result = self.wal().release(Lsn::new(before));
                self.settle(result);
            }
            Op::Look => self.look(),
        }
    }

    /// A writer that has failed is replaced, as after a kill; that it fails is not the matter here.
    fn settle<T>(&mut self, result: Result<T, Error>) {
        match result {
            Ok(_) => {}
            Err(Error::Poisoned { .. }) => {
                self.disk.kill();
                self.reopen();
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn look(&self) {
        let durable = self.view.refresh().unwrap();
        self.is_durable(durable);
        for view in [&self.view, &Wal::open_read_only(self.disk.clone()).unwrap()] {
            let mut next = view.oldest();
            for record in view.reader(next).unwrap() {
                let record = match record {
                    Ok(record) => record,
                    // The writer's background may delete at any moment.
                    Err(Error::Released { oldest, .. }) if oldest > next => return,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(record.lsn, next);
                assert_eq!(record.payload, self.records[next.get() as usize]);
                next = next.plus(1);
            }
            assert_eq!(next, view.durable());
            self.is_durable(next);
        }
    }

    /// A seal attests the first frame behind it as soon as it is stored; the writer may need a moment
    /// more to say so itself. What is not durable stays so: nothing here asks for a sync meanwhile.
    fn is_durable(&self, shown: Lsn) {
        let moment = Duration::from_millis(500);
        let durable = self.wal().wait_durable(shown, moment);
        let durable = durable.unwrap_or_else(|_| self.wal().durable());
        assert!(shown <= durable, "shown before it is durable");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn of_a_log_on_a_disk(seed in any::<u64>(), ops in prop::collection::vec(op(), 1..50)) {
        let mut world = World::new(SimStorage::new(seed));
        ops.into_iter().for_each(|op| world.run(op));
        world.look();
    }

    #[test]
    fn of_a_log_whose_appends_overtake_each_other(
        seed in any::<u64>(),
        ops in prop::collection::vec(op(), 1..50),
    ) {
        let limits = Limits { align: 1, in_flight: 4, append_bytes: 1 << 20, ..Limits::default() };
        let mut world = World::new(SimStorage::with_limits(seed, limits));
        ops.into_iter().for_each(|op| world.run(op));
        world.look();
    }
}

#[test]
fn a_tail_follows_a_writer_that_rolls_releases_and_is_replaced() {
    let disk = SimStorage::new(5);
    let (done, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let view = Wal::open_read_only(disk.clone()).unwrap();
        let follower = scope.spawn(|| {
            let every = Duration::from_millis(1);
            let view = view;
            let mut tail = view.tail(Lsn::ZERO, every).unwrap();
            let (mut seen, mut skipped) = (0u64, 0u64);
            loop {
                match tail.next_timeout(Duration::from_millis(20)) {
                    Ok(Some(record)) => {
                        let lsn = record.lsn.get();
                        assert!(lsn < acknowledged.load(Ordering::SeqCst) + 1);
                        assert_eq!(record.payload[..8], lsn.to_le_bytes());
                        assert_eq!(tail.position(), Lsn::new(lsn + 1));
                        seen += 1;
                    }
                    Ok(None) if done.load(Ordering::SeqCst) => break,
                    Ok(None) => {}
                    Err(Error::Released { asked, oldest }) => {
                        assert_eq!(asked, tail.position());
                        skipped += oldest.since(asked);
                        tail = view.tail(oldest, every).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            (seen, skipped)
        });
        for round in 0..3u64 {
            let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
            for n in round * 300..(round + 1) * 300 {
                let mut payload = n.to_le_bytes().to_vec();
                payload.resize(8 + (n * 31 % 3000) as usize, 0);
                acknowledged.store(n + 1, Ordering::SeqCst);
                wal.commit(payload).unwrap();
                if n % 50 == 49 {
                    wal.release(Lsn::new(n - 40)).unwrap();
                }
            }
            wal.close().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        let (seen, skipped) = follower.join().unwrap();
        assert_eq!(seen + skipped, 900);
        assert!(seen > 0);
    });
}

#[test]
fn what_is_not_attested_is_not_shown_and_what_was_released_is_named() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for n in 0..100u8 {
        wal.commit(vec![n; 3000]).unwrap();
    }
    let view = Wal::open_read_only(disk.clone()).unwrap();
    // Each frame attests what was durable before it: never itself.
    assert_eq!(view.durable(), Lsn::new(99));
    assert!(matches!(
        view.reader(Lsn::new(100)),
        Err(Error::Beyond { end, .. }) if end == Lsn::new(99)
    ));
    let mut slow = view.reader(Lsn::ZERO).unwrap();
    assert!(slow.next().unwrap().is_ok());
    let before = disk.segments().len();
    wal.release(Lsn::new(90)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while disk.segments().len() == before {
        assert!(Instant::now() < deadline, "nothing was deleted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let gone = slow.find_map(Result::err).unwrap();
    assert!(
        matches!(gone, Error::Released { oldest, .. } if oldest == Lsn::new(90)),
        "{gone}"
    );
    assert_eq!(view.oldest(), Lsn::new(90));
    assert!(matches!(
        view.reader(Lsn::ZERO),
        Err(Error::Released { .. })
    ));
}

#[test]
fn real_damage_is_still_named() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for n in 0..5u8 {
        wal.commit(vec![n; 3000]).unwrap();
    }
    let view = Wal::open_read_only(disk.clone()).unwrap();
    assert!(disk.damage(SegmentId::new(1), 4096 * 3 + 100, 1));
    let error = view.reader(Lsn::ZERO).unwrap().find_map(Result::err);
    assert!(
        matches!(error, Some(Error::Lost { at, .. }) if at.lsn == Lsn::new(2)),
        "{error:?}"
    );
}

#[test]
fn damage_ahead_of_the_view_is_named_as_soon_as_later_bytes_prove_it() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for n in 0..5u8 {
        wal.commit(vec![n; 3000]).unwrap();
    }
    let view = Wal::open_read_only(disk.clone()).unwrap();
    let (next, end) = (wal.end(), *disk.segments().last().unwrap());
    for n in 0..3u8 {
        wal.commit(vec![n; 3000]).unwrap();
    }
    assert!(disk.damage(end.0, end.1 + 100, 1));
    let error = view.refresh().unwrap_err();
    assert!(
        matches!(&error, Error::Lost { at, lost, .. } if at.lsn == next && *lost == (next..next.plus(2))),
        "{error}"
    );
    assert_eq!(
        view.reader(Lsn::ZERO).unwrap().count(),
        4,
        "what was shown stays"
    );
}

#[test]
fn a_newest_segment_that_vanishes_under_the_view_is_missed() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for n in 0..40u8 {
        wal.commit(vec![n; 3000]).unwrap();
    }
    wal.close().unwrap();
    let view = Wal::open_read_only(disk.clone()).unwrap();
    assert_eq!(view.durable(), Lsn::new(40));
    disk.lose(disk.segments().last().unwrap().0);
    for _ in 0..2 {
        let error = view.refresh().unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    }
}
