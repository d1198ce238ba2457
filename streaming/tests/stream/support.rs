//! What the tests have in common.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wal_core::{Options, Wal};
use wal_fs::FileStorage;
use wal_streaming::{
    Acknowledge, Batch, Block, Delivery, Feed, FileFeed, Partition, Positions, Receiver,
    ReceiverOptions, ReceiverReport, RecordRef, Result, Sink, Stop, WalStore,
};

/// A log in a directory.
pub(crate) fn open_log(dir: &Path) -> Wal {
    Wal::open(FileStorage::open(dir).unwrap(), Options::default())
        .unwrap()
        .0
}

/// `count` lines, the first of them number `first`.
pub(crate) fn lines(first: u64, count: u64) -> String {
    (first..first + count)
        .map(|number| format!("line {number}\n"))
        .collect()
}

/// Runs a receiver over `feed` until it is exhausted, in blocks of ten records.
pub(crate) fn receive(feed: impl Feed + 'static, wal: &Wal) -> Result<ReceiverReport> {
    let store = WalStore::open(wal.clone(), Acknowledge::Durable)?;
    let options = ReceiverOptions {
        block_records: 10,
        ..ReceiverOptions::default()
    };
    Receiver::new(Box::new(feed), Box::new(store), options)?.run(&Stop::new())
}

/// A receiver's log in `dir` that holds `count` lines of a file, and that file.
pub(crate) fn receive_lines(dir: &Path, count: u64) -> (PathBuf, Wal) {
    let input = dir.join("in.txt");
    std::fs::write(&input, lines(0, count)).unwrap();
    let wal = open_log(&dir.join("log"));
    receive(FileFeed::open(vec![input.clone()]).unwrap(), &wal).unwrap();
    (input, wal)
}

/// What all batches in a directory hold, in order.
pub(crate) fn output(dir: &Path) -> String {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    names
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

/// A feed of numbered records of one partition, which does with positions and
/// acknowledgements what a test wants.
pub(crate) struct NumberFeed {
    pub(crate) next: u64,
    pub(crate) until: u64,
    pub(crate) resumes: bool,
    pub(crate) leave_at: Option<u64>,
    pub(crate) on_acknowledge: Box<dyn FnMut(u64) + Send>,
    pub(crate) on_flush: Box<dyn FnMut() + Send>,
}

pub(crate) fn numbers() -> Partition {
    Partition::new("numbers", 0)
}

impl NumberFeed {
    pub(crate) fn new(until: u64) -> Self {
        NumberFeed {
            next: 0,
            until,
            resumes: true,
            leave_at: None,
            on_acknowledge: Box::new(|_| ()),
            on_flush: Box::new(|| ()),
        }
    }
}

impl Feed for NumberFeed {
    fn identity(&self) -> String {
        "numbers".to_owned()
    }

    fn resume(&mut self, positions: &Positions) -> Result<()> {
        if self.resumes {
            self.next = positions.get(&numbers()).unwrap_or(0);
        }
        Ok(())
    }

    fn receive(&mut self, block: &mut Block, _wait: Duration) -> Result<()> {
        self.leave_at.take_if(|at| *at <= self.next);
        let partition = numbers();
        while block.has_room() && !self.exhausted() && !self.leaving() {
            let value = self.next.to_le_bytes();
            let offset = self.next;
            block.push(RecordRef {
                partition: &partition,
                offset,
                key: None,
                value: &value,
            });
            self.next += 1;
        }
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        (self.on_acknowledge)(positions.get(&numbers()).unwrap());
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        (self.on_flush)();
        Ok(())
    }

    fn leaving(&self) -> bool {
        self.leave_at.is_some_and(|at| at <= self.next)
    }

    fn exhausted(&self) -> bool {
        self.next >= self.until
    }
}

/// Remembers batches and records; fails in the middle of a batch if told to.
#[derive(Clone, Default)]
pub(crate) struct RecordingSink {
    pub(crate) begun: Arc<Mutex<Vec<Batch>>>,
    pub(crate) records: Arc<Mutex<Vec<(Partition, u64)>>>,
    pub(crate) fail_in_batch: Option<u64>,
}

impl Sink for RecordingSink {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn begin(&mut self, batch: &Batch) -> Result<()> {
        self.begun.lock().push(batch.clone());
        Ok(())
    }

    fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
        self.records
            .lock()
            .push((record.partition.clone(), record.offset));
        let current = self.begun.lock().last().map(|batch| batch.id);
        if current == self.fail_in_batch {
            return Err(wal_streaming::Error::Sink {
                place: "test".to_owned(),
                reason: "told to fail".to_owned(),
            });
        }
        Ok(())
    }

    fn commit(&mut self, _batch: &Batch) -> Result<()> {
        Ok(())
    }
}
