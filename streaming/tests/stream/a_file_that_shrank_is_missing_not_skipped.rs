//! S6: data that is gone from the source is a typed error with place and offsets.

use std::path::PathBuf;

use tempfile::tempdir;
use wal_streaming::{Error, FileFeed, FileSource, Source};

use crate::support::{lines, receive, receive_lines};

#[test]
fn a_shorter_file_is_an_error_in_both_modes() {
    let dir = tempdir().unwrap();
    let (input, wal) = receive_lines(dir.path(), 20);
    let mut source = FileSource::open(vec![input.clone()]).unwrap();
    let range = source
        .plan(&Default::default(), 100, Default::default())
        .unwrap()
        .remove(0);

    std::fs::write(&input, lines(0, 5)).unwrap();
    let gone = receive(FileFeed::open(vec![input.clone()]).unwrap(), &wal).unwrap_err();
    assert!(
        matches!(&gone, Error::Missing { range, .. } if range.from == 35),
        "{gone}"
    );
    let mut source = FileSource::open(vec![input]).unwrap();
    let gone = source.fetch(&range, &mut |_| Ok(())).unwrap_err();
    assert!(gone.to_string().contains("in.txt[0] 35..150"), "{gone}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let missing = PathBuf::from("no/such/file.txt");
    let refused = FileFeed::open(vec![missing]).unwrap_err();
    assert!(matches!(&refused, Error::File { .. }));
    assert!(
        refused.to_string().contains("no/such/file.txt"),
        "{refused}"
    );
}
