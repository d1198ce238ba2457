//! S3: a batch that was planned and not done runs again with the same identifier and
//! the same ranges, although the source has more by then.

use std::path::Path;

use tempfile::tempdir;
use wal_streaming::{Driver, DriverOptions, FileSource, Stop};

use crate::support::{RecordingSink, lines, open_log};

fn open(dir: &Path, sink: RecordingSink, batch_records: u64) -> (Driver, wal_streaming::Resumed) {
    let source = FileSource::open(vec![dir.join("in.txt")]).unwrap();
    let checkpoint = open_log(&dir.join("checkpoint"));
    let options = DriverOptions {
        batch_records,
        ..DriverOptions::new("test")
    };
    Driver::open(Box::new(source), Box::new(sink), checkpoint, options).unwrap()
}

#[test]
fn the_batch_in_doubt_is_the_same_batch() {
    let dir = tempdir().unwrap();
    std::fs::write(dir.path().join("in.txt"), lines(0, 25)).unwrap();
    let failing = RecordingSink {
        fail_in_batch: Some(2),
        ..RecordingSink::default()
    };
    let (mut driver, resumed) = open(dir.path(), failing.clone(), 10);
    assert_eq!((resumed.batches_done, resumed.rerun), (0, None));
    assert!(driver.run(&Stop::new()).is_err());
    drop(driver);

    // More data, another limit: neither may change what batch 2 is.
    std::fs::write(dir.path().join("in.txt"), lines(0, 60)).unwrap();
    let sink = RecordingSink::default();
    let (mut driver, resumed) = open(dir.path(), sink.clone(), 1_000);
    assert_eq!((resumed.batches_done, resumed.rerun), (2, Some(2)));
    let report = driver.run(&Stop::new()).unwrap();
    assert_eq!((report.batches, report.records), (2, 40));
    assert_eq!(failing.begun.lock()[2], sink.begun.lock()[0]);
    let offsets: Vec<u64> = sink.records.lock().iter().map(|record| record.1).collect();
    assert!(offsets.is_sorted_by(|one, next| one < next));
    drop(driver);

    // Everything is done: a third start runs nothing.
    let (mut driver, resumed) = open(dir.path(), RecordingSink::default(), 10);
    assert_eq!((resumed.batches_done, resumed.rerun), (4, None));
    assert_eq!(driver.run(&Stop::new()).unwrap().batches, 0);
}
