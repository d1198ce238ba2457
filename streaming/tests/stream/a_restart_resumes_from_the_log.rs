//! S2: a restarted receiver goes on where its log says, and nothing is in it twice.

use tempfile::tempdir;
use wal_streaming::{FileFeed, Source, WalSource};

use crate::support::{lines, open_log, receive};

#[test]
fn a_file_is_read_on_where_the_log_ends() {
    let dir = tempdir().unwrap();
    let input = dir.path().join("in.txt");
    std::fs::write(&input, lines(0, 55)).unwrap();
    let log = dir.path().join("log");

    let wal = open_log(&log);
    let first = receive(FileFeed::open(vec![input.clone()]).unwrap(), &wal).unwrap();
    assert_eq!(
        (first.blocks, first.records, first.repeats_dropped),
        (6, 55, 0)
    );
    wal.close().unwrap();

    std::fs::write(&input, lines(0, 80)).unwrap();
    let wal = open_log(&log);
    let second = receive(FileFeed::open(vec![input]).unwrap(), &wal).unwrap();
    assert_eq!((second.records, second.repeats_dropped), (25, 0));

    let mut source = WalSource::new(wal, "test");
    let mut found = String::new();
    for range in source
        .plan(&Default::default(), 1_000, Default::default())
        .unwrap()
    {
        source
            .fetch(&range, &mut |record| {
                found += std::str::from_utf8(record.value).unwrap();
                found.push('\n');
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(found, lines(0, 80));
}

#[test]
fn a_source_whose_log_was_closed_has_nothing_more() {
    let dir = tempdir().unwrap();
    let wal = open_log(&dir.path().join("log"));
    let mut source = WalSource::new(wal.clone(), "test");
    wal.close().unwrap();
    let wait = std::time::Duration::from_millis(50);
    let ranges = source.plan(&Default::default(), 10, wait).unwrap();
    assert!(ranges.is_empty());
}
