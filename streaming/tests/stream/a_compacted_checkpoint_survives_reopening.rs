//! S3: however many batches have been run, the checkpoint stays small and keeps everything
//! that it needs.

use wal_core::sim::SimStorage;
use wal_core::{Options, Wal};
use wal_streaming::{Batch, Checkpoint, OffsetRange, Partition};

const BATCHES: u64 = 2_500;

fn open(disk: &SimStorage) -> (Wal, Checkpoint) {
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    };
    let (wal, _) = Wal::open(disk.clone(), options).unwrap();
    let config = [("key".to_owned(), "value".to_owned())];
    (
        wal.clone(),
        Checkpoint::open(wal, "pipeline", &config, false).unwrap(),
    )
}

fn batch(id: u64) -> Batch {
    let partition = Partition::new("topic", 0);
    Batch {
        id,
        ranges: vec![OffsetRange {
            partition,
            from: id * 10,
            until: (id + 1) * 10,
        }],
    }
}

#[test]
fn old_records_go_and_the_state_stays() {
    let disk = SimStorage::new(3);
    let (wal, mut checkpoint) = open(&disk);
    checkpoint.plan(batch(0)).unwrap();
    for id in 1..=BATCHES {
        checkpoint.done(Some(batch(id))).unwrap();
    }
    assert!(
        wal.oldest().get() > 2_000,
        "released up to LSN {}",
        wal.oldest()
    );
    drop((wal, checkpoint));

    disk.crash();
    let (_, mut checkpoint) = open(&disk);
    assert_eq!(checkpoint.batches_done(), BATCHES);
    assert_eq!(checkpoint.pending(), Some(&batch(BATCHES)));
    assert_eq!(
        checkpoint.positions().get(&Partition::new("topic", 0)),
        Some(BATCHES * 10)
    );
    checkpoint.done(None).unwrap();
    assert!(checkpoint.plan(batch(7)).is_err(), "a batch out of order");
}
