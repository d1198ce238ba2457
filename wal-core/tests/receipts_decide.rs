//! G4: with a receipt kept elsewhere, the loss of a whole log, of its end, or its replacement
//! by another history is seen; and what is no loss is not called one.

use wal_core::sim::SimStorage;
use wal_core::{Error, Lsn, Options, Receipt, Wal};

fn with(receipt: Receipt) -> Options {
    Options {
        receipt: Some(receipt),
        watermark_delay: None,
        ..Options::default()
    }
}

fn log(disk: &SimStorage, records: u64) -> Receipt {
    let (wal, _) = Wal::open(disk.clone(), Options::default()).unwrap();
    for index in 0..records {
        wal.commit([index.to_le_bytes(), (index + 7).to_le_bytes()])
            .unwrap();
    }
    wal.receipt()
}

#[test]
fn a_log_that_holds_it_all_opens() {
    let disk = SimStorage::new(1);
    let receipt = log(&disk, 5);
    disk.crash();
    let (wal, recovery) = Wal::open(disk.clone(), with(receipt)).unwrap();
    assert_eq!(
        recovery.durable,
        receipt.lsn(),
        "proved by the receipt: nothing to copy"
    );
    wal.commit("more").unwrap();
    let later = wal.receipt();
    assert!(wal.check(&receipt).unwrap() && wal.check(&later).unwrap());
    wal.release(later.lsn()).unwrap();
    assert!(
        !wal.check(&receipt).unwrap(),
        "released: nothing can be said"
    );
    wal.close().unwrap();
    assert!(Wal::open(disk, with(receipt)).is_ok());
}

#[test]
fn a_lost_log_an_older_copy_and_another_history_are_refused() {
    let disk = SimStorage::new(1);
    let receipt = log(&disk, 5);
    for other in [SimStorage::new(9), SimStorage::new(1)] {
        // An empty place, or (same seed) an older copy of the same log.
        if other.segments().is_empty() {
            let refused = Wal::open(other.clone(), with(receipt)).unwrap_err();
            assert!(matches!(refused, Error::Lost { .. }), "{refused}");
        }
        let (wal, _) = Wal::open(other.clone(), Options::default()).unwrap();
        wal.commit("x").unwrap();
        wal.close().unwrap();
        let refused = Wal::open(other, with(receipt)).unwrap_err();
        assert!(matches!(refused, Error::Lost { .. }), "{refused}");
    }
    disk.kill();
    let (wal, _) = Wal::open(disk.clone(), Options::default()).unwrap();
    wal.truncate(Lsn::new(3)).unwrap();
    for index in 0..20u64 {
        wal.commit(index.to_le_bytes().as_slice()).unwrap();
    }
    let refused = wal.check(&receipt).unwrap_err();
    assert!(refused.to_string().contains("another history"), "{refused}");
    wal.close().unwrap();
    // T14: as an open finds, too, and without it the log opens.
    let refused = Wal::open(disk.clone(), with(receipt)).unwrap_err();
    assert!(matches!(refused, Error::Lost { .. }), "{refused}");
    assert!(refused.to_string().contains("another history"), "{refused}");
    let (wal, recovery) = Wal::open(disk, Options::default()).unwrap();
    assert_eq!(recovery.end, Lsn::new(23));
    assert_eq!(
        wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap).count(),
        23
    );
}

#[test]
fn a_receipt_depends_on_records_not_on_frames_or_segments() {
    let one = SimStorage::new(1);
    let two = SimStorage::new(1); // the same identity
    let (first, _) = Wal::open(one, Options::default()).unwrap();
    let compact = Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        compression: wal_core::Compression::Lz4,
        ..Options::default()
    };
    let (second, _) = Wal::open(two, compact).unwrap();
    first.commit(["a"; 100]).unwrap();
    for _ in 0..100 {
        second.commit("a").unwrap();
    }
    assert_eq!(first.receipt(), second.receipt());
}
