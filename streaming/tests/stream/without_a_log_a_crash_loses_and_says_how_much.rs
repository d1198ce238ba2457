//! S9: a receiver without a log loses what it acknowledged when its process ends, and the
//! driver counts what its plans still knew of.

use tempfile::tempdir;
use wal_streaming::{
    CountingSink, Driver, DriverOptions, Error, MemorySource, Missing, Receiver, ReceiverOptions,
    Resumed, Step, Stop, memory_channel,
};

use crate::support::{NumberFeed, open_log};

fn receive_into_memory(until: u64) -> MemorySource {
    let (store, source) = memory_channel(1 << 20);
    let options = ReceiverOptions {
        block_records: 10,
        ..ReceiverOptions::default()
    };
    let feed = Box::new(NumberFeed::new(until));
    let mut receiver = Receiver::new(feed, Box::new(store), options).unwrap();
    assert_eq!(receiver.run(&Stop::new()).unwrap().records, until);
    source.finisher().finish();
    source
}

fn open(dir: &std::path::Path, source: MemorySource, missing: Missing) -> (Driver, Resumed) {
    let options = DriverOptions {
        batch_records: 15,
        missing,
        ..DriverOptions::new("test")
    };
    let sink = Box::new(CountingSink::new());
    Driver::open(Box::new(source), sink, open_log(dir), options).unwrap()
}

#[test]
fn what_was_acknowledged_and_not_run_is_gone() {
    let dir = tempdir().unwrap();
    let (mut driver, _) = open(dir.path(), receive_into_memory(100), Missing::Fail);
    assert!(matches!(driver.step().unwrap(), Step::Ran(report) if report.records == 15));
    drop(driver);

    // The process is gone, and with it 85 records that the source believes to be safe.
    let (mut driver, resumed) = open(dir.path(), receive_into_memory(20), Missing::Fail);
    assert_eq!(resumed.rerun, Some(1));
    let lost = driver.step().unwrap_err();
    assert!(matches!(&lost, Error::Missing { .. }), "{lost}");
    assert!(lost.to_string().contains("memory[0] 15..30"), "{lost}");
    drop(driver);

    let (mut driver, _) = open(dir.path(), receive_into_memory(20), Missing::Skip);
    let report = driver.run(&Stop::new()).unwrap();
    assert_eq!((report.skipped, report.records), (15, 20));
}
