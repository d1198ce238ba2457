//! S1 to S4: receiver and driver are ended again and again, by power cuts, kills, failed writes
//! and a failing sink, at places chosen at random. What was acknowledged is in the log, each
//! record is in it once, a batch that runs again covers the same ranges, and the output of all
//! batches, by identifier, is the input, once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wal_core::conformance::model::random;
use wal_core::sim::SimStorage;
use wal_core::{Options, Wal};
use wal_streaming::{
    Acknowledge, Batch, Block, Delivery, Driver, DriverOptions, Error, Feed, Partition, Positions,
    Receiver, ReceiverOptions, RecordRef, Result, Sink, Step, Stop, Store, WalSource, WalStore,
};

const BUSY: u64 = 1_600;
const QUIET: u64 = 7;

/// Two partitions, one of which soon falls silent; begins a little before where it was asked to.
struct Twins {
    next: [u64; 2],
    until: u64,
    acknowledged: Arc<Mutex<Positions>>,
}

fn partitions() -> [Partition; 2] {
    [Partition::new("busy", 0), Partition::new("quiet", 0)]
}

impl Feed for Twins {
    fn identity(&self) -> String {
        "twins".to_owned()
    }

    fn resume(&mut self, positions: &Positions) -> Result<()> {
        for (next, partition) in self.next.iter_mut().zip(&partitions()) {
            *next = positions.get(partition).unwrap_or(0).saturating_sub(3);
        }
        Ok(())
    }

    fn receive(&mut self, block: &mut Block, _wait: Duration) -> Result<()> {
        let limits = [self.until, QUIET.min(self.until)];
        for ((next, partition), limit) in self.next.iter_mut().zip(&partitions()).zip(limits) {
            while block.has_room() && *next < limit {
                let value = next.to_le_bytes();
                block.push(RecordRef {
                    partition,
                    offset: *next,
                    key: None,
                    value: &value,
                });
                *next += 1;
            }
        }
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        self.acknowledged.lock().merge(positions);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn exhausted(&self) -> bool {
        self.next[0] >= self.until && self.next[1] >= QUIET.min(self.until)
    }
}

type Records = Vec<(Partition, u64)>;

/// Keeps each batch under its identifier; fails when the fuse has burnt down.
#[derive(Clone, Default)]
struct Keyed {
    batches: Arc<Mutex<BTreeMap<u64, (Batch, Records)>>>,
    ranges: Arc<Mutex<BTreeMap<u64, Batch>>>,
    open: Records,
    fuse: u64,
}

impl Sink for Keyed {
    fn delivery(&self) -> Delivery {
        Delivery::Idempotent
    }

    fn begin(&mut self, batch: &Batch) -> Result<()> {
        self.open.clear();
        let mut ranges = self.ranges.lock();
        let before = ranges.entry(batch.id).or_insert_with(|| batch.clone());
        assert_eq!(before, batch, "S3: another batch under the same identifier");
        Ok(())
    }

    fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
        self.fuse = self.fuse.saturating_sub(1);
        if self.fuse == 0 {
            return Err(Error::Sink {
                place: "test".to_owned(),
                reason: "told to fail".to_owned(),
            });
        }
        self.open.push((record.partition.clone(), record.offset));
        Ok(())
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let records = std::mem::take(&mut self.open);
        self.batches
            .lock()
            .insert(batch.id, (batch.clone(), records));
        Ok(())
    }
}

struct World {
    log: SimStorage,
    checkpoint: SimStorage,
    acknowledged: Arc<Mutex<Positions>>,
    sink: Keyed,
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    }
}

fn open(disk: &SimStorage) -> Wal {
    Wal::open(disk.clone(), options()).expect("the log opens").0
}

impl World {
    /// One life of the process; whether it came to the end of its work.
    fn live(&mut self, choose: &mut dyn FnMut(u64) -> u64, until: u64, faults: bool) -> bool {
        let (wal, checkpoint) = (open(&self.log), open(&self.checkpoint));
        if faults {
            match choose(3) {
                0 => self.log.fail_after(choose(40)),
                1 => self.checkpoint.fail_after(choose(60)),
                _ => {}
            }
        }
        self.sink.fuse = if faults { 1 + choose(800) } else { u64::MAX };
        let done = self.work(wal, checkpoint, until).is_ok();
        for disk in [&self.log, &self.checkpoint] {
            match choose(3) {
                0 if faults => disk.kill(),
                _ => disk.crash(),
            }
        }
        done
    }

    fn work(&mut self, wal: Wal, checkpoint: Wal, until: u64) -> Result<()> {
        let store = WalStore::open(wal.clone(), Acknowledge::Durable)?;
        for (partition, next) in self.acknowledged.lock().iter() {
            let stored = store.positions().get(partition);
            assert!(
                stored >= Some(next),
                "S1: {partition} was acknowledged up to {next}"
            );
        }
        let feed = Twins {
            next: [0, 0],
            until,
            acknowledged: Arc::clone(&self.acknowledged),
        };
        let options = ReceiverOptions {
            block_records: 16,
            ..ReceiverOptions::default()
        };
        let received = Receiver::new(Box::new(feed), Box::new(store), options)?.run(&Stop::new());
        let source = WalSource::new(wal, "twins");
        source.finisher().finish();
        let options = DriverOptions {
            batch_records: 2,
            ..DriverOptions::new("twins")
        };
        let sink = Box::new(self.sink.clone());
        let (mut driver, _) = Driver::open(Box::new(source), sink, checkpoint, options)?;
        while !matches!(driver.step()?, Step::Exhausted) {}
        received.map(drop)
    }
}

fn run(seed: u64) {
    let choose = &mut random(seed);
    let mut world = World {
        log: SimStorage::new(seed),
        checkpoint: SimStorage::new(seed + 1),
        acknowledged: Arc::default(),
        sink: Keyed::default(),
    };
    let mut until = 0;
    while until < BUSY {
        until = (until + 1 + choose(400)).min(BUSY);
        world.live(choose, until, true);
    }
    assert!(
        world.live(choose, BUSY, false),
        "it works when nothing fails"
    );
    let mut seen: BTreeMap<Partition, Vec<u64>> = BTreeMap::new();
    for (_, records) in world.sink.batches.lock().values() {
        for (partition, offset) in records {
            seen.entry(partition.clone()).or_default().push(*offset);
        }
    }
    for (partition, count) in partitions().iter().zip([BUSY, QUIET]) {
        let expected: Vec<u64> = (0..count).collect();
        assert_eq!(
            seen[partition], expected,
            "S2, S4: {partition}, seed {seed}"
        );
    }
}

/// `WAL_SIM_SEEDS`: more for a longer run; `WAL_SIM_FIRST`: where they begin.
#[test]
fn through_log_and_checkpoint() {
    let number = |name| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let first: u64 = number("WAL_SIM_FIRST").unwrap_or(0);
    (first..first + number("WAL_SIM_SEEDS").unwrap_or(12)).for_each(run);
}
