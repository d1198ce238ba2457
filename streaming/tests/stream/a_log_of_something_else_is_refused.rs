//! A receiver, a driver and a checkpoint each refuse a log that is not theirs, and name the record.

use tempfile::tempdir;
use wal_streaming::{Acknowledge, Checkpoint, Error, Source, WalSource, WalStore};

use crate::support::{open_log, receive_lines};

#[test]
fn records_of_nobody_are_a_format_error() {
    let dir = tempdir().unwrap();
    let wal = open_log(dir.path());
    wal.commit("neither block nor checkpoint").unwrap();
    wal.commit(&[2_u8, 99, 1]).unwrap();

    let refused = WalStore::open(wal.clone(), Acknowledge::Durable).unwrap_err();
    assert!(
        matches!(refused, Error::Format { lsn, .. } if lsn.get() == 1),
        "{refused}"
    );
    let mut source = WalSource::new(wal.clone(), "test");
    let range = source
        .plan(&Default::default(), 10, Default::default())
        .unwrap()
        .remove(0);
    let refused = source.fetch(&range, &mut |_| Ok(())).unwrap_err();
    assert!(refused.to_string().contains("LSN 1"), "{refused}");
    assert!(Checkpoint::open(wal, "test", &[], false).is_err());
}

#[test]
fn a_receivers_log_is_no_checkpoint() {
    let dir = tempdir().unwrap();
    let (_, wal) = receive_lines(dir.path(), 20);
    let refused = Checkpoint::open(wal, "test", &[], false).unwrap_err();
    assert!(matches!(refused, Error::Format { .. }), "{refused}");
}
