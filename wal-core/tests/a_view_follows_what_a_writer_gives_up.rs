//! G4, G10: a truncation, damage and a newer format under a view: nothing is shown that the log
//! gave up, and nothing is missing without an error.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use wal_core::sim::SimStorage;
use wal_core::{
    Durability, Error, IoFuture, Lsn, Options, Position, ReadOnly, SegmentId, Storage, Sync, Wal,
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

fn open(disk: &SimStorage) -> Wal {
    Wal::open(disk.clone(), options()).unwrap().0
}

fn view(disk: &SimStorage) -> ReadOnly {
    Wal::open_read_only(disk.clone()).unwrap()
}

/// So that a record tells at which LSN it was appended, and in which round.
fn payload(lsn: u64, round: u8) -> Vec<u8> {
    let mut payload = lsn.to_le_bytes().to_vec();
    payload.resize(3000, round);
    payload
}

fn fill(wal: &Wal, records: u64, round: u8) {
    for _ in 0..records {
        wal.commit(payload(wal.end().get(), round)).unwrap();
    }
}

/// What a view shows from its oldest record on, as rounds.
fn rounds(view: &ReadOnly) -> Vec<u8> {
    let mut next = view.oldest();
    let shown = view.reader(next).unwrap().map(|record| {
        let record = record.unwrap();
        assert_eq!(record.lsn, next);
        assert_eq!(record.payload[..8], next.get().to_le_bytes());
        next = next.plus(1);
        *record.payload.last().unwrap()
    });
    let shown = shown.collect();
    assert_eq!(next, view.durable());
    shown
}

/// No frame attests itself, but the seal before it may.
fn attests_all_but_the_last(view: &ReadOnly, end: u64) -> bool {
    (end - 1..=end).contains(&view.refresh().unwrap().get())
}

/// V6: within the newest segment, and across segments, whose files are deleted then.
#[test]
fn a_truncation_is_followed() {
    for (records, to) in [(10u64, 4u64), (60, 50), (60, 3), (60, 16), (60, 0)] {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        fill(&wal, records, 1);
        let view = view(&disk);
        assert_eq!(view.durable().get(), records - 1);
        let mut ahead = view.reader(Lsn::new(records - 1)).unwrap();
        let mut behind = view.reader(Lsn::ZERO).unwrap();
        let mut tail = view
            .tail(Lsn::new(records - 1), Duration::from_millis(1))
            .unwrap();
        wal.truncate(Lsn::new(to)).unwrap();
        assert_eq!(view.refresh().unwrap(), Lsn::new(to), "it goes back");
        let beyond = ahead.next().unwrap();
        assert!(
            matches!(beyond, Err(Error::Truncated { to: found }) if found.get() == to),
            "{beyond:?}"
        );
        let beyond = tail.next_timeout(Duration::ZERO);
        assert!(
            matches!(beyond, Err(Error::Truncated { to: found }) if found.get() == to),
            "{beyond:?}"
        );
        assert!(matches!(
            view.reader(Lsn::new(to + 1)),
            Err(Error::Beyond { .. })
        ));
        assert!(rounds(&view).iter().all(|round| *round == 1));
        // What is written and not durable is not shown because its LSN once was.
        wal.append_with(payload(to, 2), Durability::Accepted)
            .unwrap()
            .wait()
            .unwrap();
        assert_eq!(view.refresh().unwrap(), Lsn::new(to));
        // Other records take these LSNs, more than before.
        fill(&wal, records, 2);
        assert!(attests_all_but_the_last(&view, to + 1 + records));
        let shown = rounds(&view);
        let (kept, new) = shown.split_at(to as usize);
        assert!(kept.iter().all(|round| *round == 1));
        assert!(new.iter().all(|round| *round == 2));
        // A reader that was not beyond goes on into them.
        let read: Vec<_> = behind.by_ref().map(|record| record.unwrap()).collect();
        assert_eq!(read.len(), shown.len());
    }
}

/// V6: the view looks only when other records stand there already, and further on.
#[test]
fn a_truncation_that_was_missed_is_told_to_readers_beyond_it() {
    for to in [2u64, 16, 50] {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        fill(&wal, 60, 1);
        let view = view(&disk);
        let mut ahead = view.reader(Lsn::new(55)).unwrap();
        wal.truncate(Lsn::new(to)).unwrap();
        fill(&wal, 80, 2);
        assert!(attests_all_but_the_last(&view, to + 80));
        let beyond = ahead.next().unwrap();
        assert!(
            matches!(beyond, Err(Error::Truncated { to: found }) if found.get() == to),
            "{beyond:?}"
        );
        let shown = rounds(&view);
        assert_eq!(shown.iter().filter(|round| **round == 1).count() as u64, to);
    }
}

/// V6: the writer is killed after it, and replaced.
#[test]
fn a_truncation_by_a_writer_that_was_killed_is_followed() {
    for more in [0, 1, 30] {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        fill(&wal, 60, 1);
        let view = view(&disk);
        wal.truncate(Lsn::new(20)).unwrap();
        fill(&wal, more, 2);
        disk.kill();
        drop(wal);
        let wal = open(&disk);
        fill(&wal, 2, 3);
        assert!(attests_all_but_the_last(&view, 20 + more + 2));
        assert!(rounds(&view).iter().skip(20).all(|round| *round != 1));
    }
}

/// V6: the segment that told of it was released and deleted before the view looked.
#[test]
fn a_truncation_whose_segment_was_deleted_is_followed() {
    for more in [30, 80] {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        fill(&wal, 60, 1);
        let view = view(&disk);
        let mut ahead = view.reader(Lsn::new(58)).unwrap();
        wal.truncate(Lsn::new(10)).unwrap();
        let truncating = disk.segments().last().unwrap().0;
        fill(&wal, more, 2);
        release_beyond(&wal, &disk, truncating, 39);
        assert!(attests_all_but_the_last(&view, 10 + more));
        let beyond = ahead.next().unwrap();
        assert!(matches!(beyond, Err(Error::Truncated { .. })), "{beyond:?}");
        assert!(rounds(&view).iter().all(|round| *round == 2));
    }
}

/// The same without a truncation: all that the view knew was released, and a reader goes on.
#[test]
fn a_release_of_all_that_was_known_is_no_truncation() {
    let disk = SimStorage::new(1);
    let wal = open(&disk);
    fill(&wal, 60, 1);
    let view = view(&disk);
    let mut reader = view.reader(Lsn::new(58)).unwrap();
    let known = disk.segments().last().unwrap().0;
    fill(&wal, 60, 1);
    let oldest = release_beyond(&wal, &disk, known, 119);
    assert!(attests_all_but_the_last(&view, 120));
    let behind = reader.next().unwrap();
    assert!(
        matches!(behind, Err(Error::Released { oldest: found, .. }) if found >= oldest),
        "{behind:?}"
    );
}

/// V6: what is compared is the last end that was attested. Where the newest segment began, the log
/// is the same still; behind that, it is not.
#[test]
fn a_truncation_within_a_first_frame_whose_segments_are_gone_is_followed() {
    let disk = SimStorage::new(1);
    let wal = open(&disk);
    fill(&wal, 1, 1);
    let newest = |disk: &SimStorage| disk.segments().last().unwrap().0;
    let begun = loop {
        let (before, end) = (newest(&disk), wal.end().get());
        wal.commit([payload(end, 1), payload(end + 1, 1), payload(end + 2, 1)])
            .unwrap();
        if newest(&disk) > before {
            break end;
        }
    };
    fill(&wal, 3, 1);
    let view = view(&disk);
    let mut reader = view.reader(Lsn::new(begun + 3)).unwrap();
    let known = newest(&disk);
    wal.truncate(Lsn::new(begun + 1)).unwrap();
    fill(&wal, 20, 2);
    let oldest = release_beyond(&wal, &disk, known, begun);
    assert_eq!(oldest, Lsn::new(begun), "what was copied is there");
    assert!(attests_all_but_the_last(&view, begun + 21));
    let beyond = reader.next().unwrap();
    assert!(matches!(beyond, Err(Error::Truncated { .. })), "{beyond:?}");
}

/// Releases records below `to`, and waits until the segment `last` is gone.
fn release_beyond(wal: &Wal, disk: &SimStorage, last: SegmentId, to: u64) -> Lsn {
    wal.release(Lsn::new(to)).unwrap();
    for _ in 0..1000 {
        if disk.segments()[0].0 > last {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(disk.segments()[0].0 > last);
    wal.oldest()
}

/// V10.
#[test]
fn an_oldest_segment_that_vanishes_under_the_view_is_missed() {
    let disk = SimStorage::new(1);
    let wal = open(&disk);
    fill(&wal, 60, 1);
    let view = view(&disk);
    disk.lose(disk.segments()[0].0);
    for _ in 0..2 {
        let error = view.refresh().unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{error}");
    }
    assert_eq!(view.oldest(), Lsn::ZERO, "the view stays as it was");
}

/// V4, L8: recovery's copy is damaged after it was finished, before the view has seen it.
#[test]
fn a_damaged_copy_that_was_finished_is_named() {
    let disk = SimStorage::new(1);
    let wal = open(&disk);
    fill(&wal, 4, 1);
    let view = view(&disk);
    disk.kill();
    drop(wal);
    let wal = open(&disk);
    fill(&wal, 3, 2);
    let newest = disk.segments().last().unwrap().0;
    assert!(disk.damage(newest, 4096 + 100, 1));
    let named = (0..3).find_map(|_| view.refresh().err());
    assert!(matches!(named, Some(Error::Lost { .. })), "{named:?}");
}

fn now<T>(future: IoFuture<T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(result) => result.unwrap(),
        Poll::Pending => panic!("one append in flight is ready at once"),
    }
}

/// Written out, so that the test does not trust the code it tests.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82F6_3B78 * (sum & 1))
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// V3: it shows when the log is opened; until then the view goes on with what it knows.
#[test]
fn a_newer_format_under_a_view_is_not_shown_and_not_damage() {
    let disk = SimStorage::new(1);
    let wal = open(&disk);
    fill(&wal, 3, 1);
    wal.close().unwrap();
    let view = view(&disk);
    assert_eq!(rounds(&view), [1; 3]);
    // The next writer begins a segment of another version.
    let mut header = now(disk.read(SegmentId::new(1), 0..4096)).to_vec();
    header[8] = 99;
    header[56] = 2;
    let sum = crc32c(&header[..156]);
    header[156..160].copy_from_slice(&sum.to_le_bytes());
    now(disk.acquire());
    let at = Position {
        segment: SegmentId::new(2),
        offset: 0,
        lsn: Lsn::new(3),
    };
    now(disk.append(at, vec![header.into()], Sync::Yes));
    for _ in 0..2 {
        assert_eq!(view.refresh().unwrap(), Lsn::new(3));
        assert_eq!(rounds(&view), [1; 3]);
    }
    disk.kill();
    let refused = Wal::open_read_only(disk.clone()).unwrap_err();
    assert!(matches!(refused, Error::NewerFormat { found: 99, .. }));
    let refused = Wal::open(disk, options()).unwrap_err();
    assert!(matches!(refused, Error::NewerFormat { found: 99, .. }));
}
