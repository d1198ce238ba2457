//! The guarantees, through a log on the storage.

use std::time::{Duration, Instant};

use super::Place;
use super::model::{Harm, Model, Op, Setup, random};
use crate::{Append, Durability, Error, Lsn, Options, Recovery, Salvaged, Storage, Wal};

/// Small, so that segments roll often and little is written.
fn options() -> Options {
    Options {
        segment_bytes: 128 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 16 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

fn open<P: Place>(place: &P) -> (Wal, Recovery) {
    Wal::open(place.open(), options()).expect("the log opens")
}

/// The record with this LSN: any length, and no two alike.
fn payload(lsn: u64) -> Vec<u8> {
    let mut payload = lsn.to_le_bytes().to_vec();
    payload.resize(8 + (lsn * 7919 % 3000) as usize, lsn as u8);
    payload
}

fn group(lsns: std::ops::Range<u64>) -> Append<'static> {
    lsns.map(payload).collect()
}

/// Commits groups of three records.
fn fill(wal: &Wal, groups: std::ops::Range<u64>) {
    for n in groups {
        wal.commit(group(n * 3..n * 3 + 3)).unwrap();
    }
}

/// That exactly these records can be read, unchanged, in order.
fn check(wal: &Wal, lsns: std::ops::Range<u64>) {
    let mut next = lsns.start;
    for record in wal.reader(Lsn::new(lsns.start)).expect("reader") {
        let record = record.expect("G2: a record that was acknowledged");
        assert_eq!(
            record.lsn,
            Lsn::new(next),
            "G2: in order, without holes or repeats"
        );
        assert!(
            record.payload == payload(next),
            "G2: LSN {next} has other bytes"
        );
        next += 1;
    }
    assert_eq!(next, lsns.end, "G1: the log ends too early");
}

/// Ends a writer without closing it, as hard as the place can.
fn end<P: Place>(place: &P, wal: Wal) {
    if !place.crash() {
        place.kill();
    }
    drop(wal);
}

fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// G1, G2: closed or dropped, again and again, the log is as it was left.
pub fn a_log_comes_back_as_it_was_left<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut end = 0;
    for round in 0..4 {
        let (wal, recovery) = open(&place);
        assert_eq!(recovery.end, Lsn::new(end), "round {round}");
        assert_eq!(recovery.clean, round > 0, "round {round}");
        check(&wal, 0..end);
        for _ in 0..20 {
            let lsns = wal.commit(group(end..end + 3)).unwrap();
            assert_eq!(lsns, Lsn::new(end)..Lsn::new(end + 3));
            end += 3;
        }
        check(&wal, 0..end);
        match round % 2 {
            0 => wal.close().unwrap(),
            _ => drop(wal),
        }
    }
}

/// G1, G2, G3: what was acknowledged is there after a crash, and what else is there is whole.
pub fn what_was_acknowledged_survives<P: Place>(factory: &dyn Fn() -> P) {
    for _ in 0..4 {
        let place = factory();
        let mut acknowledged = 0;
        for round in 0..6u64 {
            let (wal, recovery) = open(&place);
            let found = recovery.end.get();
            assert!(
                found >= acknowledged,
                "G1: {found} recovered of {acknowledged}"
            );
            assert!(found.is_multiple_of(3), "G3: an append was torn");
            check(&wal, 0..found);
            let mut next = found;
            for n in 0..20 {
                let durable = n % (round + 2) == 0;
                let how = if durable {
                    Durability::Durable
                } else {
                    Durability::Accepted
                };
                let commit = wal.append_with(group(next..next + 3), how).unwrap();
                commit.wait().unwrap();
                next += 3;
                if durable {
                    acknowledged = next;
                }
            }
            if round % 2 == 0 {
                acknowledged = wal.sync().unwrap().get();
                assert_eq!(acknowledged, next);
            }
            acknowledged = acknowledged.max(found);
            end(&place, wal);
        }
    }
}

/// G10: released segments go, what is left stays readable, and what is asked for and is not
/// there is said to be released, or beyond the end.
pub fn a_log_rolls_releases_and_says_so<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    fill(&wal, 0..120);
    let segments = || crate::block::block_on(place.open().list()).unwrap().len();
    let before = segments();
    assert!(before >= 4, "{before} segments");
    check(&wal, 0..360);
    wal.release(Lsn::new(300)).unwrap();
    until("released segments are never deleted", || {
        segments() < before
    });
    check(&wal, 300..360);
    let released = wal.reader(Lsn::new(299));
    assert!(matches!(released, Err(Error::Released { oldest, .. }) if oldest == Lsn::new(300)));
    let beyond = wal.reader(Lsn::new(361));
    assert!(matches!(beyond, Err(Error::Beyond { end, .. }) if end == Lsn::new(360)));
    end(&place, wal);
    let (wal, recovery) = open(&place);
    assert_eq!(recovery.end, Lsn::new(360));
    assert!(
        recovery.oldest <= Lsn::new(300),
        "G10: more is gone than was released"
    );
    check(&wal, 300..360);
    let found = wal.verify().unwrap();
    assert_eq!(found.damage, [], "a sound log");
}

/// G10: what is held is not released.
pub fn holds_protect_from_release<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    fill(&wal, 0..60);
    let mut hold = wal.hold(Lsn::new(10)).unwrap();
    wal.release(Lsn::new(150)).unwrap();
    fill(&wal, 60..80);
    check(&wal, 10..240);
    hold.advance(Lsn::new(100));
    fill(&wal, 80..90);
    check(&wal, 100..270);
    assert_eq!(wal.oldest(), Lsn::new(100));
    drop(hold);
    assert_eq!(wal.oldest(), Lsn::new(150));
}

/// G10: a tail sees each record once it is durable, across segments.
pub fn a_tail_follows_the_log<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    let mut tail = wal.tail(Lsn::ZERO).unwrap();
    std::thread::scope(|scope| {
        let follower = scope.spawn(move || {
            for next in 0..300 {
                let record = tail.next_timeout(Duration::from_secs(10));
                let record = record.expect("G10: the tail waits in vain").unwrap();
                assert_eq!(record.lsn, Lsn::new(next));
                assert!(
                    record.payload == payload(next),
                    "LSN {next} has other bytes"
                );
            }
        });
        let commits: Vec<_> = (0..100)
            .map(|n| wal.append(group(n * 3..n * 3 + 3)).unwrap())
            .collect();
        for commit in commits {
            commit.wait().unwrap();
        }
        follower.join().expect("the follower");
    });
}

/// G6: a log has one writer at a time.
pub fn a_second_writer_is_refused<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    wal.commit(group(0..3)).unwrap();
    let second = Wal::open(place.open(), options());
    assert!(
        matches!(&second, Err(Error::Storage(crate::StorageError::InUse(_)))),
        "{second:?}"
    );
    wal.commit(group(3..6)).unwrap();
    wal.close().unwrap();
    let (wal, _) = open(&place);
    check(&wal, 0..6);
}

/// G7: without space nothing is poisoned, and nothing is lost.
pub fn a_full_log_goes_on_when_space_returns<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    wal.commit(group(0..3)).unwrap();
    if !place.limit(true) {
        return;
    }
    let mut next = 3;
    let full = loop {
        match wal.commit(group(next..next + 3)) {
            Ok(_) => next += 3,
            Err(error) => break error,
        }
        assert!(next < 10_000, "the place is limited, and is never full");
    };
    check(&wal, 0..next);
    match full {
        Error::Full(_) => wal.release(Lsn::new(1)).unwrap(),
        // Among several appends in flight one that finds no space cannot be taken back.
        Error::Poisoned { .. } if place.open().limits().in_flight > 1 => {}
        other => panic!("G7: {other}"),
    }
    end(&place, wal);
    let (wal, recovery) = open(&place);
    assert_eq!(recovery.end, Lsn::new(next), "G7: opening needs no space");
    place.limit(false);
    wal.commit(group(next..next + 3)).unwrap();
    check(&wal, 1..next + 3);
}

/// G4: damaged bytes are an error that names the place, and salvage reads on behind it.
pub fn damage_is_named<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    for lsn in 0..10 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.close().unwrap();
    let storage = place.open();
    let first = crate::block::block_on(storage.list()).unwrap()[0].id;
    // In the first record: behind segment header, frame header and its entry in the table.
    let header = 160u64.next_multiple_of(u64::from(storage.limits().align));
    if !place.damage(first, header + 80 + 8 + 3) {
        return;
    }
    let read: Result<Vec<_>, _> = Wal::open(place.open(), options())
        .and_then(|(wal, _)| wal.reader(Lsn::ZERO)?.collect::<Result<Vec<_>, _>>());
    assert!(
        matches!(&read, Err(Error::Lost { at, .. }) if at.segment == first),
        "G4: {read:?}"
    );
    let salvaged: Vec<_> = Wal::salvage(place.open()).unwrap().collect();
    assert!(
        matches!(&salvaged[0], Salvaged::Gap(gap) if gap.lost == (Lsn::ZERO..Lsn::new(1))),
        "G4: {salvaged:?}"
    );
    assert_eq!(salvaged.len(), 10, "G4: {salvaged:?}");
}

/// G10: a read-only view beside the writer, and after it.
pub fn a_view_shows_what_is_durable_and_changes_nothing<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let (wal, _) = open(&place);
    let view = Wal::open_read_only(place.open()).unwrap();
    for n in 0..60 {
        wal.commit(group(n * 3..n * 3 + 3)).unwrap();
        let durable = view.refresh().unwrap();
        assert!(durable <= wal.durable());
        assert!(durable.get() >= n * 3, "each frame attests the one before");
    }
    let read = |from: u64| {
        let records = view.reader(Lsn::new(from)).unwrap();
        records
            .map(|record| record.unwrap())
            .inspect(|record| assert!(record.payload == payload(record.lsn.get())))
            .count() as u64
    };
    assert_eq!(read(0), view.durable().get());
    wal.release(Lsn::new(150)).unwrap();
    wal.close().unwrap();
    assert_eq!(view.refresh().unwrap(), Lsn::new(180));
    assert_eq!(read(150), 30);
    let listed = || crate::block::block_on(place.open().list()).unwrap();
    let before = listed();
    let fresh = Wal::open_read_only(place.open()).unwrap();
    assert!(fresh.recovery().clean);
    assert_eq!(fresh.verify().unwrap().damage, []);
    assert_eq!(listed(), before);
    let (wal, _) = open(&place); // a view takes no role
    wal.commit(group(180..183)).unwrap();
}

/// G1 to G5, G7, G8, G10: histories of appends, faults, crashes and all else, chosen at random,
/// and damage at their end, against a [`Model`].
pub fn histories_agree_with_the_model<P: Place>(factory: &dyn Fn() -> P) {
    for seed in 0..12 {
        history_agrees_with_the_model(factory(), seed);
    }
}

/// One of these histories: for places where all of them take long.
pub fn history_agrees_with_the_model<P: Place>(place: P, seed: u64) {
    let choose = &mut random(seed);
    let mut model = Model::new(place, Setup::new(choose(2) == 1));
    for _ in 0..40 {
        model.run(Op::choose(choose));
    }
    model.end(Some(Harm::choose(choose)));
}
