//! G4: whatever part of a footer is damaged, an open, a lookup by LSN and one by time find what
//! they found before, or say *lost*.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wal_core::sim::SimStorage;
use wal_core::{Error, Lsn, Options, Wal};

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

const RECORDS: u64 = 40;

/// A closed log, and what `seek_time` finds for each of the moments between its records.
fn log() -> (SimStorage, Vec<(SystemTime, Lsn)>) {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let mut moments = vec![(UNIX_EPOCH, Lsn::ZERO)];
    for lsn in 0..RECORDS {
        if lsn % 5 == 0 {
            std::thread::sleep(Duration::from_millis(2));
            moments.push((SystemTime::now(), Lsn::new(lsn)));
            std::thread::sleep(Duration::from_millis(2));
        }
        wal.commit(lsn.to_le_bytes().repeat(400)).unwrap();
    }
    wal.close().unwrap();
    (disk, moments)
}

fn check(disk: &SimStorage, moments: &[(SystemTime, Lsn)]) -> Result<(), Error> {
    let (wal, recovery) = Wal::open(disk.clone(), options())?;
    assert_eq!(recovery.end, Lsn::new(RECORDS));
    for (time, lsn) in moments {
        assert_eq!(wal.seek_time(*time)?, *lsn);
    }
    for lsn in 0..RECORDS {
        let record = wal.get(Lsn::new(lsn))?;
        assert_eq!(record.payload, lsn.to_le_bytes().repeat(400));
    }
    assert_eq!(
        wal.reader(Lsn::ZERO)?.filter(Result::is_ok).count() as u64,
        RECORDS
    );
    Ok(())
}

#[test]
fn whatever_is_damaged_in_it() {
    let (disk, moments) = log();
    check(&disk.fork(), &moments).unwrap();
    let segments = disk.segments();
    assert!(segments.len() >= 3);
    let mut intact = 0;
    for (segment, length) in &segments {
        // A footer fits a block here: its header, index, padding and trailer.
        let start = length - 4096;
        // From 113 on, entries of an LSN, an offset and a time each.
        let header = [0, 4, 12, 30, 79];
        let attachment = [80, 90, 110, 114, 122, 131, 138, 146, 194, 203, 1000];
        let trailer = [4080, 4090, 4095];
        let places = header.into_iter().chain(attachment).chain(trailer);
        for place in places {
            let disk = disk.fork();
            assert!(disk.damage(*segment, start + place, 1));
            match check(&disk, &moments) {
                Ok(()) => intact += 1,
                Err(Error::Lost { .. }) => panic!("no record is damaged: {segment} {place}"),
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(intact, segments.len() * 19);
    // All of them at once.
    for (segment, length) in &segments {
        disk.zero(*segment, length - 4096..*length);
    }
    check(&disk, &moments).unwrap();
}
