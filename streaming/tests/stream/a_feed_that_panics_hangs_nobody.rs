//! A panic of a feed, which is a caller's code, ends the receiver's run at once. Blocks under way
//! are stored all the same, and none is lost or repeated (S2).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use wal_core::{Options, Wal, sim::SimStorage};
use wal_streaming::{
    Acknowledge, Block, Feed, Partition, Positions, Receiver, ReceiverOptions, RecordRef, Result,
    Stop, WalStore,
};

/// Numbers without an end; panics when it is told of an acknowledgement.
struct Numbers(Partition, u64);

impl Feed for Numbers {
    fn identity(&self) -> String {
        "numbers".to_owned()
    }
    fn resume(&mut self, positions: &Positions) -> Result<()> {
        self.1 = positions.get(&self.0).unwrap_or(0);
        Ok(())
    }
    fn receive(&mut self, block: &mut Block, _wait: Duration) -> Result<()> {
        while block.has_room() {
            let value = self.1.to_string();
            block.push(RecordRef {
                partition: &self.0,
                offset: self.1,
                key: None,
                value: value.as_bytes(),
            });
            self.1 += 1;
        }
        Ok(())
    }
    fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
        panic!("a feed that does not like to be told")
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    fn exhausted(&self) -> bool {
        false
    }
}

#[test]
fn a_feed_that_panics_hangs_nobody() {
    let disk = SimStorage::new(1);
    let (told, panicked) = mpsc::channel();
    let log = disk.clone();
    let running = std::thread::spawn(move || {
        let run = catch_unwind(AssertUnwindSafe(|| {
            let (wal, _) = Wal::open(log, Options::default()).unwrap();
            let store = WalStore::open(wal, Acknowledge::Durable).unwrap();
            let feed = Numbers(Partition::new("numbers", 0), 0);
            let options = ReceiverOptions {
                block_records: 100,
                ..ReceiverOptions::default()
            };
            let mut receiver = Receiver::new(Box::new(feed), Box::new(store), options).unwrap();
            receiver.run(&Stop::new())
        }));
        told.send(run.is_err()).unwrap();
    });
    let panicked = panicked.recv_timeout(Duration::from_secs(30));
    assert_eq!(panicked, Ok(true), "the receiver goes on, or hangs");
    running.join().unwrap();
    let (wal, recovery) = Wal::open(disk, Options::default()).unwrap();
    assert!(recovery.clean, "the log was not closed");
    let store = WalStore::open(wal, Acknowledge::Durable).unwrap();
    let stored = wal_streaming::Store::positions(&store);
    let stored = stored.get(&Partition::new("numbers", 0)).unwrap_or(0);
    assert!(stored >= 100 && stored.is_multiple_of(100), "{stored}");
}
