//! G4, G9: whatever byte is flipped, whichever segment is lost, an open either fails and
//! says where, or returns a log in which every record is one that was appended, at its LSN;
//! and what was durable for certain (below W) is never missing without an error.

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{Error, Limits, Lsn, Options, SegmentId, Wal};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

fn payload(lsn: u64) -> Vec<u8> {
    vec![lsn.to_le_bytes()[0]; 100 + usize::try_from(lsn * 37 % 5000).unwrap()]
}

/// A log of some segments, cleanly closed: all of it is below W.
fn closed_log(seed: u64, records: u64) -> SimStorage {
    let disk = SimStorage::new(seed);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for lsn in 0..records {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.close().unwrap();
    disk
}

/// Opens and reads everything; `Err` is a loud refusal, which is fine.
fn read_all(disk: &SimStorage) -> Result<Vec<(Lsn, Vec<u8>)>, Error> {
    let (wal, _) = Wal::open(disk.clone(), options())?;
    let reader = wal.reader(wal.oldest())?;
    reader
        .map(|record| record.map(|record| (record.lsn, record.payload.to_vec())))
        .collect()
}

fn assert_loud_or_whole(disk: &SimStorage, records: u64) {
    if let Ok(found) = read_all(disk) {
        for (lsn, found) in &found {
            assert_eq!(*found, payload(lsn.get()), "LSN {lsn}");
        }
        assert_eq!(
            found.len() as u64,
            records,
            "records vanished without an error"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_flipped_bit_of_a_closed_log_is_reported_or_harmless(
        seed in any::<u64>(),
        segment in 0..64usize,
        place in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let disk = closed_log(seed, 60);
        let segments = disk.segments();
        let (id, length) = segments[segment % segments.len()];
        let offset = place.index(usize::try_from(length).unwrap()) as u64;
        disk.damage(id, offset, 1 << bit);
        assert_loud_or_whole(&disk, 60);
    }

    #[test]
    fn a_lost_segment_of_a_closed_log_is_reported(seed in any::<u64>(), which in 0..64usize) {
        let disk = closed_log(seed, 60);
        let segments = disk.segments();
        prop_assert!(segments.len() >= 3);
        let (id, _) = segments[which % segments.len()];
        disk.lose(id);
        let result = read_all(&disk);
        prop_assert!(matches!(result, Err(Error::Lost { .. })), "{result:?}");
    }
}

#[test]
fn damage_below_the_watermark_fails_the_open_and_says_where() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for lsn in 0..4 {
        wal.commit(payload(lsn)).unwrap();
    }
    disk.kill();
    drop(wal);
    // The third frame attests that the second is durable; damage the second's payload.
    // Header block, then a block per frame: 100, 137 and 174 bytes are one block each.
    assert!(disk.damage(SegmentId::new(1), 4096 * 2 + 100, 1));
    let error = Wal::open(disk, options()).unwrap_err();
    let Error::Lost { lost, at, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(lost, Lsn::new(1)..Lsn::new(3));
    assert_eq!((at.segment, at.offset), (SegmentId::new(1), 8192));
}

#[test]
fn damage_at_the_unconfirmed_end_is_dropped_and_reported() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for lsn in 0..4 {
        wal.commit(payload(lsn)).unwrap();
    }
    disk.kill();
    drop(wal);
    assert!(disk.damage(SegmentId::new(1), 4096 * 4 + 100, 1));
    let (_, recovery) = Wal::open(disk, options()).unwrap();
    // The frame of LSN 2 attests that 0 and 1 were durable; nothing intact attests 2 and 3.
    let unconfirmed = recovery.unconfirmed.unwrap();
    assert_eq!((recovery.durable, recovery.end), (Lsn::new(2), Lsn::new(3)));
    assert_eq!((unconfirmed.first, unconfirmed.kept), (Lsn::new(2), 1));
    assert!(unconfirmed.dropped_bytes > 0);
}

#[test]
fn a_log_is_not_mistaken_for_an_empty_one_when_its_only_header_is_damaged() {
    let disk = closed_log(3, 3);
    assert!(disk.damage(SegmentId::new(1), 20, 1));
    assert!(matches!(
        Wal::open(disk, options()),
        Err(Error::Lost { .. })
    ));
}

#[test]
fn the_damaged_record_is_named_when_an_old_segment_is_read() {
    let disk = closed_log(5, 60);
    assert!(disk.damage(SegmentId::new(1), 4096 + 100, 1));
    let (wal, _) = Wal::open(disk, options()).unwrap(); // an open checks names and tail only
    let error = wal.reader(Lsn::ZERO).unwrap().next().unwrap().unwrap_err();
    let Error::Lost { at, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((at.segment, at.lsn), (SegmentId::new(1), Lsn::ZERO));
}

/// A copy that was finished once and is damaged later must not be taken for one that was not:
/// the segment would be deleted, with all that was appended behind the copy.
#[test]
fn damage_within_recoverys_copy_deletes_nothing() {
    let options = || Options {
        watermark_delay: None,
        ..Options::default()
    };
    let disk = SimStorage::new(3);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    wal.commit("one").unwrap();
    wal.commit("two").unwrap();
    disk.kill();
    drop(wal);
    // "two" is unconfirmed, and copied into a segment of its own.
    let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
    assert_eq!(recovery.unconfirmed.unwrap().kept, 1);
    wal.commit("three").unwrap();
    disk.kill();
    drop(wal);
    let (newest, _) = *disk.segments().last().unwrap();
    assert!(disk.damage(newest, 4096 + 80 + 8, 1));
    let outcome = Wal::open(disk.clone(), options());
    assert!(
        matches!(outcome, Err(Error::Lost { .. })),
        "{:?}",
        outcome.map(|it| it.1)
    );
    assert!(disk.segments().iter().any(|(id, _)| *id == newest));
}

/// Where nothing is ever torn, whatever does not verify was stored whole once: no byte of a log
/// may change without an error, not even in the last append, in the first of a segment, or in a
/// segment that holds no more than that.
#[test]
fn on_storage_that_keeps_the_order_no_byte_changes_unnoticed() {
    for records in [1, 5, 6, 16] {
        let disk = ordered_log(records);
        for (id, length) in disk.segments() {
            for offset in (0..length).filter(|at| *at < 400 || at % 61 == 0) {
                let fork = disk.fork();
                assert!(fork.damage(id, offset, 1));
                let viewed = view_all(&fork);
                let found = read_all(&fork).map(|found| found.len() as u64);
                for (who, found) in [("view", viewed), ("open", found)] {
                    let loud_or_whole = found.as_ref().map_or(true, |found| *found == records);
                    assert!(
                        loud_or_whole,
                        "{who}: byte {offset} of {id}, {records} records: {found:?}"
                    );
                }
            }
        }
    }
}

fn view_all(disk: &SimStorage) -> Result<u64, Error> {
    let view = Wal::open_read_only(disk.clone())?;
    let mut records = 0;
    for record in view.reader(view.oldest())? {
        record?;
        records += 1;
    }
    Ok(records)
}

/// A log that was killed, on storage with segments of five appends that shows only what is durable.
fn ordered_log(records: u64) -> SimStorage {
    let limits = Limits {
        align: 1,
        append_bytes: 1 << 20,
        segment_appends: 5,
        in_order: true,
        ..Limits::default()
    };
    let disk = SimStorage::with_limits(9, limits);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for lsn in 0..records {
        wal.commit(payload(lsn % 3)).unwrap();
    }
    disk.kill();
    drop(wal);
    disk
}
