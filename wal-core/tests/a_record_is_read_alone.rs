//! G4, G10: one record can be read by its LSN or by its location, verified, wherever it lies:
//! in the open segment, in one with a footer, in one without, in a compressed frame; and never
//! another record in its place.

use wal_core::sim::SimStorage;
use wal_core::{Append, Compression, Error, Location, Lsn, Options, SegmentId, Wal};

fn options(compression: Compression) -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        compression,
        ..Options::default()
    }
}

fn payload(lsn: u64) -> Vec<u8> {
    let length = (lsn * 37 % 3000) as usize;
    format!("record {lsn} ")
        .into_bytes()
        .into_iter()
        .cycle()
        .take(length)
        .collect()
}

/// Appends this many records in groups of one to five, and returns their locations.
fn fill(wal: &Wal, records: u64) -> Vec<Location> {
    let mut locations = Vec::new();
    let mut next = wal.end().get();
    let end = next + records;
    while next < end {
        let group = (1 + next % 5).min(end - next);
        let append: Append = (next..next + group).map(payload).collect();
        locations.extend(
            wal.append(append.located())
                .unwrap()
                .wait_located()
                .unwrap(),
        );
        next += group;
    }
    locations
}

fn check(wal: &Wal, locations: &[Location]) {
    for (index, location) in locations.iter().enumerate() {
        let lsn = Lsn::new(index as u64);
        let expected = payload(lsn.get());
        assert_eq!(wal.get(lsn).unwrap().payload, expected, "{lsn}");
        assert_eq!(wal.read_at(location).unwrap(), expected, "{lsn}");
        assert_eq!(location.lsn(), lsn);
        assert_eq!(wal.locate(lsn).unwrap(), *location);
        assert_eq!(Location::from_bytes(&location.to_bytes()), *location);
    }
}

#[test]
fn in_every_kind_of_segment() {
    for compression in [Compression::None, Compression::Lz4] {
        let disk = SimStorage::new(1);
        let (wal, _) = Wal::open(disk.clone(), options(compression)).unwrap();
        let mut locations = fill(&wal, 200);
        assert!(
            disk.segments().len() > 3,
            "the test is about several segments"
        );
        check(&wal, &locations);
        wal.close().unwrap();

        let (wal, _) = Wal::open(disk.clone(), options(compression)).unwrap();
        check(&wal, &locations); // by footers
        locations.extend(fill(&wal, 7));
        disk.crash();
        drop(wal);
        let (wal, _) = Wal::open(disk, options(compression)).unwrap();
        check(&wal, &locations[..200]); // the last segment has no footer
        let moved = &locations[205]; // may have been copied since: then it is elsewhere
        assert_eq!(wal.get(moved.lsn()).unwrap().payload, payload(205));
    }
}

#[test]
fn what_is_released_or_not_there_yet_is_named() {
    let (wal, _) = Wal::open(SimStorage::new(1), options(Compression::None)).unwrap();
    let locations = fill(&wal, 10);
    wal.release(Lsn::new(5)).unwrap();
    for outcome in [
        wal.get(Lsn::new(4)).map(|_| ()),
        wal.read_at(&locations[4]).map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(Error::Released { oldest, .. }) if oldest == Lsn::new(5)));
    }
    assert!(matches!(wal.get(Lsn::new(10)), Err(Error::Beyond { .. })));
    assert_eq!(wal.read_at(&locations[5]).unwrap(), payload(5));
}

#[test]
fn damage_is_seen_and_costs_only_the_damaged_record() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options(Compression::None)).unwrap();
    wal.commit(["aaaa", "bbbb", "cccc"]).unwrap();
    let locations: Vec<_> = (0..3)
        .map(|lsn| wal.locate(Lsn::new(lsn)).unwrap())
        .collect();
    let table = 4096 + 80;
    assert!(disk.damage(SegmentId::new(1), table + 3 * 8 + 5, 1)); // in "bbbb"
    assert_eq!(wal.read_at(&locations[0]).unwrap(), "aaaa");
    assert!(matches!(
        wal.read_at(&locations[1]),
        Err(Error::Lost { .. })
    ));
    assert_eq!(wal.read_at(&locations[2]).unwrap(), "cccc");
    assert!(matches!(wal.get(Lsn::new(1)), Err(Error::Lost { .. })));
    assert_eq!(wal.get(Lsn::new(2)).unwrap().payload, "cccc");
    assert!(disk.damage(SegmentId::new(1), table, 1)); // in the table
    assert!(matches!(wal.get(Lsn::new(2)), Err(Error::Lost { .. })));
}

/// G9: a location is the caller's bytes.
#[test]
fn a_forged_location_finds_nothing() {
    let (wal, _) = Wal::open(SimStorage::new(1), options(Compression::None)).unwrap();
    fill(&wal, 3);
    let right = wal.locate(Lsn::new(1)).unwrap().to_bytes();
    for bit in 0..right.len() * 8 {
        let mut forged = right;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(
            wal.read_at(&Location::from_bytes(&forged)).is_err(),
            "bit {bit}"
        );
    }
    assert!(wal.read_at(&Location::from_bytes(&[0xFF; 32])).is_err());
}
