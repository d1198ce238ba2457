//! S2: a source that shows old records again adds nothing to the log.

use tempfile::tempdir;

use crate::support::{NumberFeed, open_log, receive};

#[test]
fn a_feed_that_starts_over_repeats_nothing_in_the_log() {
    let dir = tempdir().unwrap();
    let wal = open_log(dir.path());
    receive(NumberFeed::new(40), &wal).unwrap();

    let again = NumberFeed {
        resumes: false,
        ..NumberFeed::new(65)
    };
    let report = receive(again, &wal).unwrap();
    assert_eq!((report.records, report.repeats_dropped), (25, 40));
}
