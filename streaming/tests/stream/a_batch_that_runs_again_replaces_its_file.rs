//! S4: with a sink that is keyed by batch, a second run changes nothing in the output.

use tempfile::tempdir;
use wal_streaming::{Batch, FileSink, Format, Partition, RecordRef, Sink};

use crate::support::output;

fn run(sink: &mut FileSink, id: u64, values: &[&str]) {
    let batch = Batch { id, ranges: vec![] };
    let partition = Partition::new("topic", 0);
    sink.begin(&batch).unwrap();
    for (value, offset) in values.iter().zip(0..) {
        let value = value.as_bytes();
        sink.write(RecordRef {
            partition: &partition,
            offset,
            key: None,
            value,
        })
        .unwrap();
    }
    sink.commit(&batch).unwrap();
}

#[test]
fn the_second_run_takes_the_place_of_the_first() {
    let dir = tempdir().unwrap();
    let mut sink = FileSink::new(dir.path(), Format::Raw).unwrap();
    run(&mut sink, 0, &["a", "b"]);
    run(&mut sink, 1, &["c"]);
    run(&mut sink, 1, &["c"]);
    assert_eq!(output(dir.path()), "a\nb\nc\n");
}

#[test]
fn a_batch_that_was_not_committed_leaves_nothing() {
    let dir = tempdir().unwrap();
    let mut sink = FileSink::new(dir.path(), Format::JsonLines).unwrap();
    sink.begin(&Batch {
        id: 0,
        ranges: vec![],
    })
    .unwrap();
    drop(sink);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    FileSink::new(dir.path(), Format::JsonLines).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
