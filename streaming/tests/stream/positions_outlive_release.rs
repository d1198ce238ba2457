//! S2: positions survive although everything that was received has been released.

use tempfile::tempdir;
use wal_core::{Options, Wal};
use wal_fs::FileStorage;
use wal_streaming::{
    Acknowledge, Partition, Positions, RecordRef, Source, Store, WalSource, WalStore,
};

#[test]
fn every_partition_keeps_its_position() {
    let dir = tempdir().unwrap();
    let options = || Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let open = || {
        Wal::open(FileStorage::open(dir.path()).unwrap(), options())
            .unwrap()
            .0
    };

    let wal = open();
    let mut store = WalStore::open(wal.clone(), Acknowledge::Durable).unwrap();
    let mut expected = Positions::default();
    for number in 0..60 {
        // One record early on; the positions of these partitions must not be lost.
        let partition = Partition::new("topic", number.min(20));
        let mut block = store.begin();
        let value = vec![0; 8_000];
        let offset = 1_000 + u64::from(number);
        block.push(RecordRef {
            partition: &partition,
            offset,
            key: None,
            value: &value,
        });
        expected.merge(block.positions());
        store.store(block).unwrap().wait().unwrap();
    }
    assert!(wal.newest_segment().get() > 0, "the log should have rolled");
    let mut source = WalSource::new(wal.clone(), "test");
    let range = source
        .plan(&Default::default(), 1_000, Default::default())
        .unwrap()
        .remove(0);
    let mut done = Positions::default();
    done.advance(&range.partition, range.until);
    source.done(&done).unwrap();
    drop(source);
    wal.close().unwrap();
    drop(store);

    let wal = open();
    assert!(wal.oldest().get() > 0, "nothing was released");
    let store = WalStore::open(wal, Acknowledge::Durable).unwrap();
    assert_eq!(store.positions(), expected);
}
