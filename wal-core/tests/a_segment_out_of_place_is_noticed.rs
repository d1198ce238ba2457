//! G4: names and headers that do not fit each other. What never held anything acknowledged, or
//! was released, is a leftover, and the log opens without it; everything else is refused or
//! *lost*, and nothing is deleted.

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use support::Odd;
use wal_core::sim::SimStorage;
use wal_core::{
    Error, IoFuture, Limits, Lsn, Options, Position, Recovery, SegmentId, Storage, Sync, Wal,
};

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
    vec![lsn.to_le_bytes()[0]; 3000]
}

fn open(storage: impl Storage) -> Result<(Wal, Recovery), Error> {
    Wal::open(storage, options())
}

/// Appends until there are so many segments.
fn fill(wal: &Wal, disk: &SimStorage, segments: usize) {
    while disk.segments().len() < segments {
        wal.commit(payload(wal.end().get())).unwrap();
    }
}

/// Five segments of one writer, who closed the log; and how many records they hold.
fn whole_log() -> (SimStorage, u64) {
    let disk = SimStorage::new(1);
    let (wal, _) = open(disk.clone()).unwrap();
    fill(&wal, &disk, 5);
    let end = wal.end().get();
    wal.close().unwrap();
    (disk, end)
}

/// Reads everything, and compares.
fn read(wal: &Wal) -> Result<(), Error> {
    let mut next = wal.oldest();
    for record in wal.reader(next)? {
        let record = record?;
        assert_eq!(record.lsn, next);
        assert_eq!(record.payload, payload(next.get()), "LSN {next}");
        next = next.plus(1);
    }
    assert_eq!(next, wal.end());
    Ok(())
}

fn ids(disk: &SimStorage) -> Vec<u64> {
    disk.segments().iter().map(|(id, _)| id.get()).collect()
}

/// Flips bits of a segment's header.
fn damage_header(disk: &SimStorage, segment: u64) {
    assert!(disk.damage(SegmentId::new(segment), 20, 1));
}

/// The open is refused for this reason, and leaves the log as it was.
fn assert_lost(disk: &SimStorage, storage: impl Storage, reason: &str) {
    let before = disk.segments();
    match open(storage) {
        Err(error @ Error::Lost { .. }) => {
            assert!(error.to_string().contains(reason), "{error}");
        }
        Err(error) => panic!("{error}"),
        Ok((_, recovery)) => panic!("nothing was noticed: {recovery:?}"),
    }
    assert_eq!(disk.segments(), before);
}

/// L4, where frames stand anywhere.
#[test]
fn damage_to_the_only_header_is_noticed_where_frames_are_not_aligned() {
    for align in [1, 64, 512] {
        let limits = Limits {
            align,
            in_flight: 1,
            append_bytes: 1 << 20,
            ..Limits::default()
        };
        let disk = SimStorage::with_limits(1, limits);
        let (wal, _) = open(disk.clone()).unwrap();
        for lsn in 0..3 {
            wal.commit(payload(lsn)).unwrap();
        }
        wal.close().unwrap();
        damage_header(&disk, 1);
        assert_lost(&disk, disk.clone(), "frames stand in the segment");
    }
}

/// L5.
#[test]
fn a_copy_under_the_next_number_is_a_leftover() {
    let (disk, end) = whole_log();
    for segment in [1, 3, 5] {
        disk.duplicate(SegmentId::new(segment), SegmentId::new(6));
        let (wal, recovery) = open(disk.clone()).unwrap();
        assert_eq!(recovery.end, Lsn::new(end));
        assert!(recovery.clean);
        assert_eq!(ids(&disk), [1, 2, 3, 4, 5]);
        read(&wal).unwrap();
        wal.close().unwrap();
    }
}

/// L5 and T9: the seal before says that it replaced something.
#[test]
fn a_copy_in_the_place_of_the_newest_segment_is_noticed() {
    for segment in 1..5 {
        let (disk, _) = whole_log();
        disk.duplicate(SegmentId::new(segment), SegmentId::new(5));
        assert_lost(&disk, disk.clone(), "later bytes prove");
    }
}

/// Segments 1 and 3, and 2 by itself: a copy that a fault cut short, and its replacement.
fn log_with_a_gap(seed: u64) -> (SimStorage, SimStorage) {
    let disk = SimStorage::new(seed);
    let (wal, _) = open(disk.clone()).unwrap();
    for lsn in 0..4 {
        wal.commit(payload(lsn)).unwrap();
    }
    disk.kill();
    drop(wal);
    disk.fail_after(0);
    assert!(open(disk.clone()).is_err());
    disk.kill();
    let with_leftover = disk.fork();
    let (wal, recovery) = open(disk.clone()).unwrap();
    assert_eq!(recovery.end, Lsn::new(4));
    drop(wal);
    assert_eq!(ids(&with_leftover), [1, 2]);
    assert_eq!(ids(&disk), [1, 3]);
    (disk, with_leftover)
}

/// L9 and L10.
#[test]
fn a_number_in_between_is_a_leftover_of_this_log_or_refused() {
    let (disk, own) = log_with_a_gap(1);
    let (_, foreign) = log_with_a_gap(2);
    disk.transplant(&foreign, SegmentId::new(2));
    assert_lost(&disk, disk.clone(), "two logs were mixed");
    disk.transplant(&own, SegmentId::new(2));
    let (wal, _) = open(disk.clone()).unwrap();
    assert!(!ids(&disk).contains(&2));
    read(&wal).unwrap();
}

/// L10: a segment that continues none does not follow any.
#[test]
fn a_log_of_its_own_behind_another_is_refused() {
    // Its first segment has number 3, since something lay there that was none.
    let other = SimStorage::new(2);
    now(other.acquire());
    let at = Position {
        segment: SegmentId::new(2),
        offset: 0,
        lsn: Lsn::ZERO,
    };
    now(other.append(at, vec![vec![7; 4096].into()], Sync::Yes));
    other.kill();
    let (wal, _) = open(other.clone()).unwrap();
    wal.commit(payload(0)).unwrap();
    wal.close().unwrap();
    assert_eq!(ids(&other), [3]);

    let disk = SimStorage::new(1);
    let (wal, _) = open(disk.clone()).unwrap();
    fill(&wal, &disk, 2);
    wal.close().unwrap();
    disk.transplant(&other, SegmentId::new(3));
    assert_lost(&disk, disk.clone(), "begins a log of its own");
}

fn now<T>(future: IoFuture<T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("one append in flight is ready at once"),
    }
}

/// L15: behind segments that are settled, where only names are looked at.
#[test]
fn a_leftover_that_comes_back_is_a_leftover() {
    let (disk, own) = log_with_a_gap(1);
    let (wal, _) = open(disk.clone()).unwrap();
    let before = disk.segments().len();
    fill(&wal, &disk, before + 3);
    wal.close().unwrap();
    disk.transplant(&own, SegmentId::new(2));
    let (wal, recovery) = open(disk.clone()).unwrap();
    assert!(recovery.clean);
    read(&wal).unwrap();
    assert!(!ids(&disk).contains(&2), "{:?}", ids(&disk));
}

/// L15: a later one stays away, so the numbers skip.
#[test]
fn a_released_segment_that_comes_back_is_a_leftover() {
    let disk = SimStorage::new(1);
    let (wal, _) = open(disk.clone()).unwrap();
    fill(&wal, &disk, 6);
    let before = disk.fork();
    wal.release(Lsn::new(35)).unwrap();
    for _ in 0..1000 {
        if ids(&disk)[0] > 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    wal.close().unwrap();
    let left = ids(&disk);
    assert!(left[0] > 2 && left.len() >= 3, "{left:?}");
    disk.transplant(&before, SegmentId::new(1));
    let (wal, recovery) = open(disk.clone()).unwrap();
    assert!(recovery.clean);
    assert_eq!(wal.oldest(), Lsn::new(35));
    read(&wal).unwrap();
    assert_eq!(ids(&disk), left);
}

/// L19: a name alone made it part of the log; its successor's header knows better.
#[test]
fn a_name_that_a_later_header_does_not_continue_is_noticed_when_it_is_read() {
    let (disk, own) = log_with_a_gap(1);
    let (wal, _) = open(disk.clone()).unwrap();
    let before = disk.segments().len();
    fill(&wal, &disk, before + 3);
    wal.close().unwrap();
    disk.transplant(&own, SegmentId::new(2));
    let odd = Odd {
        rename: |meta| {
            if meta.id == SegmentId::new(2) {
                meta.first = Some(Lsn::new(1));
            }
        },
        ..Odd::new(&disk)
    };
    let (wal, _) = open(odd).unwrap();
    let read = wal.reader(wal.oldest()).unwrap().find_map(Result::err);
    assert!(matches!(read, Some(Error::Lost { .. })), "{read:?}");
    let error = wal.get(Lsn::new(3)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the segment is missing"), "{error}");
}

/// L16.
#[test]
fn a_name_that_claims_a_later_lsn_than_its_successors_is_noticed() {
    let (disk, _) = whole_log();
    for named in [
        |meta: &mut wal_core::SegmentMeta| {
            if meta.id == SegmentId::new(2) {
                meta.first = Some(Lsn::new(40));
            }
        },
        |meta: &mut wal_core::SegmentMeta| {
            if meta.id == SegmentId::new(1) {
                meta.first = Some(Lsn::MAX);
            }
        },
    ] {
        let odd = Odd {
            rename: named,
            ..Odd::new(&disk)
        };
        assert_lost(&disk, odd, "claims a later LSN");
    }
}

/// L17.
#[test]
fn where_names_tell_no_lsn_headers_are_read() {
    let (disk, _) = whole_log();
    let nameless = |disk: &SimStorage| Odd {
        rename: |meta| meta.first = None,
        ..Odd::new(disk)
    };
    let (wal, _) = open(nameless(&disk)).unwrap();
    assert_eq!(wal.newest_segment(), open_newest(&disk.fork()));
    read(&wal).unwrap();
    wal.close().unwrap();
    for segment in [1, 2, 3] {
        let disk = disk.fork();
        damage_header(&disk, segment);
        assert_lost(&disk, nameless(&disk), "checksum");
    }
}

fn open_newest(disk: &SimStorage) -> Lsn {
    open(disk.clone()).unwrap().0.newest_segment()
}

/// T9.
#[test]
fn a_newest_segment_that_is_gone_is_missed() {
    let (disk, _) = whole_log();
    disk.lose(SegmentId::new(5));
    assert_lost(&disk, disk.clone(), "at segment 4");
}

/// T10.
#[test]
fn damage_to_the_first_frame_of_the_newest_segment_is_missed() {
    let disk = SimStorage::new(8);
    let (wal, _) = open(disk.clone()).unwrap();
    fill(&wal, &disk, 2);
    let sealed = disk.segments()[0].1;
    // The log's thread may write the seal after the commit.
    std::thread::sleep(Duration::from_millis(50));
    assert!(disk.segments()[0].1 >= sealed);
    let last = wal.end().get() - 1;
    disk.kill();
    drop(wal);
    assert!(disk.damage(SegmentId::new(2), 4096 + 20, 1));
    assert_lost(&disk, disk.clone(), "later bytes prove");
    let error = open(disk).unwrap_err();
    assert!(
        matches!(&error, Error::Lost { lost, .. } if *lost == (Lsn::new(last)..Lsn::new(last + 1))),
        "{error}"
    );
}

/// How an earlier writer left the log, or what the later one did first.
type Left = fn(&SimStorage, Wal);

/// The first segment of a writer, or of a truncation, is missed as any other (T9): the segment that
/// it continues says that the log went on, before anything is acknowledged.
#[test]
fn the_first_segment_of_a_writer_is_missed() {
    let ways: [(&str, Left); 6] = [
        ("closed", |_, wal| wal.close().unwrap()),
        ("killed", |disk, wal| {
            disk.kill();
            drop(wal);
        }),
        ("all of it unconfirmed", |disk, wal| {
            // Nothing attests the last frame: the next writer copies it (G5).
            wal.commit(payload(wal.end().get())).unwrap();
            disk.kill();
            drop(wal);
        }),
        ("torn", |disk, wal| {
            let end = disk.segments().last().unwrap().1;
            wal.commit(payload(wal.end().get())).unwrap();
            disk.kill();
            drop(wal);
            let newest = disk.segments().last().unwrap().0;
            assert!(disk.damage(newest, end + 100, 1));
        }),
        ("truncated", |disk, wal| {
            let to = Lsn::new(wal.end().get() - 1);
            wal.truncate(to).unwrap();
            disk.kill();
            drop(wal);
        }),
        ("truncated at first", |disk, wal| {
            wal.close().unwrap();
            let (wal, _) = open(disk.clone()).unwrap();
            wal.truncate(Lsn::new(wal.end().get() - 2)).unwrap();
            disk.kill();
            drop(wal);
        }),
    ];
    for (name, leave) in ways {
        for segments in 1..3 {
            let disk = SimStorage::new(1);
            let (wal, _) = open(disk.clone()).unwrap();
            fill(&wal, &disk, segments);
            for _ in 0..3 {
                wal.commit(payload(wal.end().get())).unwrap();
            }
            leave(&disk, wal);
            let lost = |disk: &SimStorage| {
                if disk.segments().len() == 1 {
                    return; // U3: all of it was copied, and nothing is left
                }
                let copy = disk.fork();
                copy.lose(disk.segments().last().unwrap().0);
                assert_lost(&copy, copy.clone(), ""); // T9, or T4
                let mut found = Wal::salvage(copy).unwrap();
                assert!(
                    found.any(|it| matches!(it, wal_core::Salvaged::Gap(_))),
                    "{name}"
                );
            };
            if name.starts_with("truncated") {
                lost(&disk);
            }
            let (wal, _) = open(disk.clone()).unwrap();
            let lsn = wal.commit(payload(wal.end().get())).unwrap().start;
            lost(&disk);
            disk.kill();
            drop(wal);
            lost(&disk);
            let (wal, _) = open(disk.clone()).unwrap();
            read(&wal).unwrap();
            assert!(wal.end() > lsn, "{name}");
            wal.close().unwrap();
            lost(&disk);
        }
    }
}

/// L8: recovery's copy was finished; damage to all of it is not taken for a copy that was cut short.
#[test]
fn damage_to_all_of_a_finished_copy_is_noticed() {
    let disk = SimStorage::new(1);
    let (wal, _) = open(disk.clone()).unwrap();
    fill(&wal, &disk, 2);
    for _ in 0..2 {
        wal.commit(payload(wal.end().get())).unwrap();
    }
    disk.kill();
    drop(wal);
    let (wal, _) = open(disk.clone()).unwrap();
    disk.kill();
    drop(wal);
    let (newest, bytes) = *disk.segments().last().unwrap();
    for block in (4096..bytes).step_by(4096) {
        assert!(disk.damage(newest, block + 20, 1));
    }
    assert_lost(&disk, disk.clone(), "");
}
