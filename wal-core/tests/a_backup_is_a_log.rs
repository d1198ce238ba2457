//! G1, G2: a backup taken while the log is in use holds exactly what was durable and not
//! released when it began, and goes on as a log of its own.

use wal_core::sim::SimStorage;
use wal_core::{Error, Lsn, Options, StorageError, Wal};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        ..Options::default()
    }
}

fn records(wal: &Wal) -> Vec<(Lsn, bytes::Bytes)> {
    let reader = wal.reader(wal.oldest()).unwrap();
    reader
        .map(|found| found.map(|found| (found.lsn, found.payload)).unwrap())
        .collect()
}

#[test]
fn of_a_log_that_rolls_releases_and_holds_while_it_is_copied() {
    let (wal, _) = Wal::open(SimStorage::new(1), options()).unwrap();
    for index in 0..60u64 {
        wal.commit(vec![index as u8; 5000]).unwrap();
    }
    wal.set_hold("reader", Lsn::new(25)).unwrap();
    wal.release(Lsn::new(30)).unwrap();
    let writer = {
        let wal = wal.clone();
        std::thread::spawn(move || {
            for _ in 0..200 {
                wal.commit(vec![7; 3000]).unwrap();
            }
        })
    };
    let target = SimStorage::new(2);
    let receipt = wal.backup(target.clone()).unwrap();
    writer.join().unwrap();
    let (copy, recovery) = Wal::open(target.clone(), options()).unwrap();
    assert!(recovery.clean);
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(25), receipt.lsn())
    );
    assert_eq!(recovery.holds, wal.named_holds());
    assert!(copy.check(&receipt).unwrap() && wal.check(&receipt).unwrap());
    let expected: Vec<_> = records(&wal)
        .into_iter()
        .take_while(|(lsn, _)| *lsn < receipt.lsn())
        .collect();
    assert_eq!(records(&copy), expected);

    // From here on the two are different logs, and a receipt tells.
    copy.commit("another history").unwrap();
    let fork = copy.receipt();
    copy.close().unwrap();
    assert!(matches!(wal.check(&fork), Err(Error::Lost { .. })));
    assert_eq!(
        Wal::open(target, options()).unwrap().1.end,
        receipt.lsn().plus(1)
    );
}

#[test]
fn of_an_empty_log_and_only_into_an_empty_place() {
    let (wal, _) = Wal::open(SimStorage::new(1), options()).unwrap();
    let target = SimStorage::new(2);
    wal.backup(target.clone()).unwrap();
    wal.commit("a").unwrap();
    wal.backup(target.clone()).unwrap();
    let again = wal.backup(target);
    assert!(
        matches!(again, Err(Error::Storage(StorageError::Conflict(_)))),
        "{again:?}"
    );
}
