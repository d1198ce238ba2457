//! S2, S3, S4 together: file, receiver, log, driver, files; with stops and a crash of the
//! driver on the way, the output is the input, once.

use std::path::Path;

use tempfile::tempdir;
use wal_streaming::{
    Driver, DriverOptions, FileFeed, FileSink, Format, OffsetRange, Partition, RecordRef, Sink,
    Source, Step, WalSource,
};

use crate::support::{lines, open_log, output, receive, receive_lines};

fn drive(dir: &Path, batches: usize) -> usize {
    let source = WalSource::new(open_log(&dir.join("log")), "test");
    source.finisher().finish();
    let sink = FileSink::new(dir.join("out"), Format::Raw).unwrap();
    let checkpoint = open_log(&dir.join("checkpoint"));
    let options = DriverOptions {
        batch_records: 25,
        ..DriverOptions::new("test")
    };
    let (mut driver, _) =
        Driver::open(Box::new(source), Box::new(sink), checkpoint, options).unwrap();
    let ran = || matches!(driver.step().unwrap(), Step::Ran(_));
    std::iter::repeat_with(ran)
        .take(batches)
        .take_while(|ran| *ran)
        .count()
}

#[test]
fn through_the_receivers_log() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in.txt");
    for part in 1..=3 {
        std::fs::write(&input, lines(0, part * 100)).unwrap();
        let wal = open_log(&dir.path().join("log"));
        receive(FileFeed::open(vec![input.clone()]).unwrap(), &wal).unwrap();
        drop(wal);
        // Stops in the middle, with a batch planned; the next one begins with it.
        assert_eq!(drive(dir.path(), 2), 2);
    }
    assert_eq!(drive(dir.path(), 1_000), 4);
    assert_eq!(output(&dir.path().join("out")), lines(0, 300));
}

#[test]
fn a_failed_fetch_is_read_again_from_the_log() {
    let dir = tempdir().unwrap();
    let (input, wal) = receive_lines(dir.path(), 50);

    let mut source = WalSource::new(wal, "test");
    let range = source
        .plan(&Default::default(), 50, Default::default())
        .unwrap()
        .remove(0);
    assert_eq!((range.from, range.until), (0, 55));
    let mut seen = 0;
    let stop = source.fetch(&range, &mut |_| {
        seen += 1;
        if seen == 17 { Err(failure()) } else { Ok(()) }
    });
    assert!(stop.is_err());
    let mut again = Vec::new();
    source
        .fetch(&range, &mut |record: RecordRef<'_>| {
            assert_eq!(record.partition.topic(), input.to_str().unwrap());
            again.push(record.offset);
            Ok(())
        })
        .unwrap();
    assert_eq!((again.len(), again[1]), (50, 7));

    let beyond = OffsetRange {
        partition: Partition::new("log:test", 0),
        from: 55,
        until: 60,
    };
    let missing = source.fetch(&beyond, &mut |_| Ok(())).unwrap_err();
    assert!(
        missing.to_string().contains("log:test[0] 55..60"),
        "{missing}"
    );
}

fn failure() -> wal_streaming::Error {
    let dir = tempdir().unwrap();
    let mut sink = FileSink::new(dir.path(), Format::Raw).unwrap();
    let partition = Partition::new("topic", 0);
    let record = RecordRef {
        partition: &partition,
        offset: 0,
        key: None,
        value: b"",
    };
    sink.write(record).unwrap_err()
}
