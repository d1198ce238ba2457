//! G4, G9: whatever is done to a log, salvage yields every record that is still intact, at
//! its LSN, once, in order, and names all that is missing; `verify` finds the same damage.

use proptest::prelude::*;
use wal_core::sim::SimStorage;
use wal_core::{Append, Durability, Gap, Limits, Lsn, Options, Salvaged, SegmentId, Wal};

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

const RECORDS: u64 = 120;

fn payload(lsn: u64) -> Vec<u8> {
    let mut payload = lsn.to_le_bytes().to_vec();
    payload.resize(8 + usize::try_from(lsn * 37 % 5000).unwrap(), lsn as u8);
    payload
}

/// A log that three writers made, of whom the first two were killed: with copies, therefore;
/// closed in the end, so that all of it is below W.
fn closed_log(disk: &SimStorage) {
    let (mut next, mut writers) = (0, 0);
    while next < RECORDS {
        let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
        assert_eq!(recovery.end.get(), next);
        writers += 1;
        while next < RECORDS.min(writers * 50) {
            let group: Append = (next..next + 2).map(payload).collect();
            let accepted = if next % 3 == 0 {
                Durability::Durable
            } else {
                Durability::Accepted
            };
            wal.append_with(group, accepted).unwrap().wait().unwrap();
            next += 2;
        }
        if next < RECORDS {
            disk.kill();
        }
    }
}

fn disks(seed: u64) -> [SimStorage; 2] {
    let limits = Limits {
        align: 1,
        in_flight: 4,
        append_bytes: 1 << 20,
        ..Limits::default()
    };
    [SimStorage::new(seed), SimStorage::with_limits(seed, limits)]
}

/// Everything that salvage yields, after checking that it is right.
fn salvage(disk: &SimStorage) -> (Vec<u64>, Vec<Gap>) {
    let (mut lsns, mut gaps) = (Vec::new(), Vec::new());
    let mut next = 0;
    for found in Wal::salvage(disk.clone()).unwrap() {
        match found {
            Salvaged::Record(record) => {
                assert_eq!(record.lsn.get(), next, "in order, each once, gaps named");
                assert_eq!(record.payload, payload(next), "LSN {next}");
                lsns.push(next);
                next += 1;
            }
            Salvaged::Gap(gap) => {
                assert_eq!(gap.lost.start.get(), next, "{gap}");
                assert!(gap.lost.end >= gap.lost.start, "{gap}");
                next = gap.lost.end.get();
                gaps.push(gap);
            }
        }
    }
    (lsns, gaps)
}

/// Which LSNs a whole log has in which segment, by a reader that trusts the log.
fn lost(gaps: &[Gap]) -> Vec<u64> {
    gaps.iter()
        .flat_map(|gap| gap.lost.start.get()..gap.lost.end.get())
        .collect()
}

#[derive(Clone, Debug)]
enum Harm {
    Flip(usize, prop::sample::Index, u32),
    Lose(usize),
    Swap(usize, usize),
    Duplicate(usize, usize),
    Truncate(usize, prop::sample::Index),
    Zero(usize, prop::sample::Index, usize),
    Header(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..64usize, index(), 0..8u32).prop_map(|(s, at, bit)| Harm::Flip(s, at, bit)),
        1 => (0..64usize).prop_map(Harm::Lose),
        1 => (0..64usize, 0..64usize).prop_map(|(a, b)| Harm::Swap(a, b)),
        1 => (0..64usize, 0..64usize).prop_map(|(a, b)| Harm::Duplicate(a, b)),
        1 => (0..64usize, index()).prop_map(|(s, at)| Harm::Truncate(s, at)),
        1 => (0..64usize, index(), 1..20_000usize).prop_map(|(s, at, n)| Harm::Zero(s, at, n)),
        2 => (0..64usize).prop_map(Harm::Header),
    ]
}

fn inflict(disk: &SimStorage, harm: &Harm) {
    let segments = disk.segments();
    if segments.is_empty() {
        return;
    }
    let pick = |which: usize| segments[which % segments.len()];
    let place = |which: usize, at: &prop::sample::Index| {
        let (id, length) = pick(which);
        (id, at.index(usize::try_from(length).unwrap().max(1)) as u64)
    };
    match harm {
        Harm::Flip(which, at, bit) => {
            let (id, offset) = place(*which, at);
            disk.damage(id, offset, 1 << bit);
        }
        Harm::Lose(which) => disk.lose(pick(*which).0),
        Harm::Swap(one, other) => disk.swap(pick(*one).0, pick(*other).0),
        Harm::Duplicate(one, other) => disk.duplicate(pick(*one).0, pick(*other).0),
        Harm::Truncate(which, at) => {
            let (id, offset) = place(*which, at);
            disk.truncate(id, offset);
        }
        Harm::Zero(which, at, length) => {
            let (id, offset) = place(*which, at);
            disk.zero(id, offset..offset + *length as u64);
        }
        Harm::Header(which) => {
            disk.damage(pick(*which).0, 40, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Every record is either right or named; nothing panics; nothing is yielded twice.
    #[test]
    fn whatever_is_done_to_it(seed in any::<u64>(), harms in prop::collection::vec(harm(), 1..6)) {
        for disk in disks(seed) {
            closed_log(&disk);
            for harm in &harms {
                inflict(&disk, harm);
            }
            let left = disk.segments().len();
            let (lsns, gaps) = salvage(&disk);
            if lsns.len() as u64 + lost(&gaps).len() as u64 != RECORDS {
                // Only if what attests the end is gone, too.
                let end = lsns.last().copied().max(lost(&gaps).last().copied());
                prop_assert!(end.unwrap_or(0) < RECORDS, "{gaps:?}");
            }
            prop_assert!(left == 0 || !lsns.is_empty() || !gaps.is_empty(), "silence");
        }
    }

    /// `verify` of a log in use misses nothing: what it does not count as lost, it has read.
    #[test]
    fn verify_names_what_was_done_to_a_log_in_use(
        seed in any::<u64>(), harms in prop::collection::vec(harm(), 1..4),
    ) {
        for disk in disks(seed) {
            closed_log(&disk);
            let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
            for harm in &harms {
                inflict(&disk, harm);
            }
            let found = wal.verify().unwrap();
            prop_assert_eq!(found.records + lost(&found.damage).len() as u64, RECORDS);
            let read: Result<Vec<_>, _> = wal.reader(Lsn::ZERO).unwrap().collect();
            if found.damage.is_empty() {
                // Sound is what a reader can read.
                prop_assert_eq!(read.map(|read| read.len() as u64).ok(), Some(RECORDS));
            }
        }
    }

    /// One flipped bit costs one record of a frame, or one frame, or nothing; and is found.
    #[test]
    fn a_flipped_bit_costs_no_more_than_a_frame(
        seed in any::<u64>(), which in 0..64usize, at in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        for disk in disks(seed) {
            closed_log(&disk);
            let before: Vec<_> = disk.segments();
            inflict(&disk, &Harm::Flip(which, at, bit));
            let (lsns, gaps) = salvage(&disk);
            prop_assert_eq!(lsns.len() as u64 + lost(&gaps).len() as u64, RECORDS, "{:?}", gaps);
            prop_assert!(lost(&gaps).len() <= 8, "{gaps:?} {before:?}");
        }
    }
}

#[test]
fn a_sound_log_has_no_gaps_also_where_recovery_has_copied() {
    for seed in 0..20 {
        for disk in disks(seed) {
            closed_log(&disk);
            let (lsns, gaps) = salvage(&disk);
            assert_eq!(lsns.len() as u64, RECORDS);
            assert_eq!(gaps, []);
        }
    }
}

#[test]
fn any_one_segment_may_be_lost_and_the_rest_is_there() {
    for disk in disks(3) {
        closed_log(&disk);
        for (id, _) in disk.segments() {
            let copy = disk.fork();
            copy.lose(id);
            let (lsns, gaps) = salvage(&copy);
            let missing = lost(&gaps);
            assert!(!gaps.is_empty(), "segment {id} was not missed");
            let newest = Some(id) == disk.segments().last().map(|last| last.0);
            if newest {
                // How much it held nobody knows any more; that it held something is.
                assert!(!missing.is_empty(), "{gaps:?}");
            } else {
                assert_eq!(lsns.len() + missing.len(), RECORDS as usize, "{gaps:?}");
            }
            assert!(gaps.iter().all(|gap| !gap.unconfirmed), "{gaps:?}");
        }
    }
}

#[test]
fn damaged_segment_headers_cost_no_record_not_even_all_of_them() {
    for disk in disks(4) {
        closed_log(&disk);
        let segments = disk.segments();
        for (id, _) in &segments {
            let copy = disk.fork();
            assert!(copy.damage(*id, 40, 1));
            let (lsns, gaps) = salvage(&copy);
            assert_eq!(lsns.len() as u64, RECORDS, "{gaps:?}");
            assert_eq!(gaps.len(), 1, "{gaps:?}");
            assert_eq!(gaps[0].at.segment, *id);
            assert!(gaps[0].reason.contains("header"), "{gaps:?}");
        }
        for (id, _) in &segments {
            assert!(disk.damage(*id, 40, 1));
        }
        let (lsns, gaps) = salvage(&disk);
        assert_eq!(lsns.len() as u64, RECORDS, "{gaps:?}");
        assert_eq!(gaps.len(), segments.len(), "{gaps:?}");
    }
}

#[test]
fn swapped_and_duplicated_segments_are_named_and_cost_nothing() {
    for disk in disks(5) {
        closed_log(&disk);
        let ids: Vec<_> = disk.segments().iter().map(|(id, _)| *id).collect();
        let swapped = disk.fork();
        swapped.swap(ids[0], ids[2]);
        let (lsns, gaps) = salvage(&swapped);
        assert_eq!((lsns.len() as u64, gaps.len()), (RECORDS, 2), "{gaps:?}");
        let twice = disk.fork();
        twice.duplicate(ids[1], SegmentId::new(ids[ids.len() - 1].get() + 1));
        let (lsns, gaps) = salvage(&twice);
        assert_eq!((lsns.len() as u64, gaps.len()), (RECORDS, 1), "{gaps:?}");
    }
}

#[test]
fn what_was_replaced_by_a_later_writer_is_not_yielded() {
    // A torn frame, an intact one behind it, and a later writer whose records have their LSNs.
    let disk = SimStorage::new(9);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for _ in 0..3 {
        wal.commit("kept").unwrap();
    }
    let torn = disk.segments()[0].1;
    wal.append_with("torn", Durability::Accepted)
        .unwrap()
        .wait()
        .unwrap();
    wal.append_with("beyond", Durability::Accepted)
        .unwrap()
        .wait()
        .unwrap();
    disk.kill();
    drop(wal);
    assert!(disk.damage(SegmentId::new(1), torn + 20, 1));
    let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
    assert_eq!(recovery.end, Lsn::new(3));
    for _ in 0..3 {
        wal.commit("new").unwrap();
    }
    wal.close().unwrap();
    let check = |disk: &SimStorage, new: usize| {
        let records: Vec<_> = Wal::salvage(disk.clone())
            .unwrap()
            .filter_map(|found| match found {
                Salvaged::Record(record) => Some(record.payload),
                Salvaged::Gap(_) => None,
            })
            .collect();
        assert_eq!(records[..3], ["kept", "kept", "kept"]);
        assert_eq!(records[3..].len(), new);
        assert!(
            records[3..].iter().all(|record| record == "new"),
            "{records:?}"
        );
    };
    check(&disk, 3);
    // Also when the frame that replaced it is damaged.
    let second = disk.segments()[1].0;
    let replaced = 4096 * 3 + 88; // header, copy, mark; then the first new record
    assert!(disk.damage(second, replaced, 1));
    let found: Vec<_> = Wal::salvage(disk.clone()).unwrap().collect();
    assert!(
        found.iter().any(|found| matches!(found, Salvaged::Gap(_))),
        "{found:?}"
    );
    check(&disk, 2);
}

#[test]
fn verify_reports_what_salvage_finds_and_nothing_of_a_sound_log() {
    let disk = SimStorage::new(6);
    closed_log(&disk);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let sound = wal.verify().unwrap();
    assert_eq!((sound.records, sound.damage.as_slice()), (RECORDS, &[][..]));
    assert_eq!(sound.segments, disk.segments().len() as u64);
    let view = Wal::open_read_only(disk.clone()).unwrap();
    assert_eq!(view.verify().unwrap().damage, []);

    let ids: Vec<_> = disk.segments().iter().map(|(id, _)| *id).collect();
    assert!(disk.damage(ids[0], 4096 + 100, 1));
    assert!(disk.damage(ids[1], 40, 1));
    let found = wal.verify().unwrap();
    assert_eq!(found.damage, view.verify().unwrap().damage);
    assert_eq!(found.damage.len(), 2, "{:?}", found.damage);
    assert_eq!(found.records, RECORDS - 1);
    wal.release(Lsn::new(60)).unwrap();
    assert_eq!(wal.verify().unwrap().damage, []);
    assert_eq!(wal.verify().unwrap().records, RECORDS - 60);
}

#[test]
fn a_live_log_is_verified_while_it_is_written() {
    let disk = SimStorage::new(7);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let view = Wal::open_read_only(disk.clone()).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for lsn in 0..400u64 {
                wal.commit(payload(lsn)).unwrap();
                if lsn % 100 == 99 {
                    wal.release(Lsn::new(lsn - 60)).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let found = wal.verify().unwrap();
            assert_eq!(found.damage, []);
            view.refresh().unwrap();
            assert_eq!(view.verify().unwrap().damage, []);
        }
    });
}

/// Three records, of which nothing says that the last two are durable; killed, opened anew
/// (which copies these into segment 2, see G5) and closed.
fn copied_log() -> SimStorage {
    let disk = SimStorage::new(8);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    for lsn in 0..3 {
        let accepted = wal.append_with(payload(lsn), Durability::Accepted);
        accepted.unwrap().wait().unwrap();
    }
    disk.kill();
    drop(wal);
    let (wal, recovery) = Wal::open(disk.clone(), options()).unwrap();
    assert_eq!(recovery.unconfirmed.unwrap().kept, 2);
    wal.close().unwrap();
    disk
}

#[test]
fn what_recovery_has_copied_is_read_from_either_place() {
    for (segment, frames) in [(SegmentId::new(1), 2..4), (SegmentId::new(2), 1..3)] {
        for frame in frames {
            for offset in [20, 95] {
                let disk = copied_log();
                assert!(disk.damage(segment, 4096 * frame + offset, 1));
                let (lsns, gaps) = salvage(&disk);
                assert_eq!(
                    lsns,
                    [0, 1, 2],
                    "segment {segment}, frame {frame}: {gaps:?}"
                );
            }
        }
    }
}

#[test]
fn verify_reports_what_readers_cannot_read_though_the_original_is_intact() {
    for (frame, offset) in (1..3).flat_map(|frame| [(frame, 20), (frame, 95)]) {
        let disk = copied_log();
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        assert_eq!(wal.verify().unwrap().damage, []);
        assert!(disk.damage(SegmentId::new(2), 4096 * frame + offset, 1));
        let mut reader = wal.reader(Lsn::ZERO).unwrap();
        assert!(
            reader.any(|record| record.is_err()),
            "frame {frame} is read"
        );
        let damage = wal.verify().unwrap().damage;
        assert_eq!(lost(&damage), [frame], "{damage:?}");
        // Damage to the original alone costs no reader anything.
        let disk = copied_log();
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        assert!(disk.damage(SegmentId::new(1), 4096 * (frame + 1) + offset, 1));
        let mut reader = wal.reader(Lsn::ZERO).unwrap();
        assert!(reader.all(|record| record.is_ok()), "frame {frame}");
        assert_eq!(wal.verify().unwrap().damage, []);
    }
}

#[test]
fn the_last_records_are_missed_when_their_frame_is_damaged() {
    let disk = SimStorage::new(8);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    wal.commit("first").unwrap();
    wal.commit(["second", "third"]).unwrap();
    wal.close().unwrap();
    assert!(disk.damage(SegmentId::new(1), 4096 * 2 + 20, 1));
    let found: Vec<_> = Wal::salvage(disk).unwrap().collect();
    assert!(
        matches!(&found[1..], [Salvaged::Gap(gap)]
            if gap.lost == (Lsn::new(1)..Lsn::new(3)) && !gap.unconfirmed && gap.bytes == 4096),
        "{found:?}"
    );
}

#[test]
fn a_seal_attests_the_first_frame_of_the_segment_behind_it() {
    let disk = SimStorage::new(8);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    let mut next = 0;
    while disk.segments().len() < 2 {
        wal.commit(payload(next)).unwrap();
        next += 1;
    }
    // The log's thread writes the seal after the commit.
    let sealed = disk.segments()[0].1 + 4096;
    for _ in 0..1000 {
        if disk.segments()[0].1 == sealed {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    disk.kill();
    drop(wal);
    // The newest segment's only frame: its header, and so all of it.
    assert!(disk.damage(SegmentId::new(2), 4096 + 20, 1));
    let (lsns, gaps) = salvage(&disk);
    assert_eq!(lsns.len() as u64, next - 1);
    assert_eq!(lost(&gaps), [next - 1], "{gaps:?}");
    assert!(!gaps[0].unconfirmed, "{gaps:?}");
}

#[test]
fn damage_that_costs_no_record_is_named_too() {
    let disk = SimStorage::new(8);
    for _ in 0..2 {
        let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
        wal.commit("record").unwrap();
        wal.close().unwrap();
    }
    // The first writer's closing mark: block 2 of its segment, after header and record.
    disk.truncate(SegmentId::new(1), 4096 * 2);
    let gaps: Vec<_> = Wal::salvage(disk)
        .unwrap()
        .filter_map(|found| match found {
            Salvaged::Gap(gap) => Some(gap),
            Salvaged::Record(_) => None,
        })
        .collect();
    assert!(
        matches!(gaps.as_slice(), [gap] if gap.bytes == 4096 && gap.lost.is_empty()),
        "{gaps:?}"
    );
}

/// Two copies of a disk were written on, and a segment of one has come into the other: every
/// checksum is right, and only the chain over the records tells.
#[test]
fn a_segment_of_another_history_of_the_same_log_is_noticed() {
    let disk = SimStorage::new(2);
    closed_log(&disk);
    let histories = [disk.clone(), disk.fork()];
    for (history, tag) in histories.iter().zip([1, 2]) {
        let (wal, _) = Wal::open(history.clone(), options()).unwrap();
        for _ in 0..60 {
            wal.commit(vec![tag; 3000]).unwrap();
        }
        wal.close().unwrap();
    }
    let ids: Vec<_> = disk.segments().iter().map(|(id, _)| *id).collect();
    let foreign = ids[ids.len() - 2];
    disk.transplant(&histories[1], foreign);
    let gaps: Vec<_> = Wal::salvage(disk.clone())
        .unwrap()
        .filter_map(|found| match found {
            Salvaged::Gap(gap) => Some(gap),
            Salvaged::Record(_) => None,
        })
        .collect();
    assert!(
        gaps.iter()
            .any(|gap| gap.reason.contains("another history")),
        "{gaps:?}"
    );
    let view = Wal::open_read_only(disk).unwrap();
    assert_eq!(view.verify().unwrap().damage, gaps);
}

/// S3: and the log's own records are all there.
#[test]
fn a_segment_of_another_log_yields_nothing_and_is_named() {
    let (disk, other) = (SimStorage::new(1), SimStorage::new(2));
    closed_log(&disk);
    closed_log(&other);
    let newest = disk.segments().last().unwrap().0;
    other.duplicate(newest, newest.next());
    for foreign in [newest.next(), SegmentId::new(2)] {
        let disk = disk.fork();
        let before = salvage(&disk).0;
        disk.transplant(&other, foreign);
        let named = Wal::salvage(disk.clone()).unwrap().any(|found| {
            matches!(&found, Salvaged::Gap(gap) if gap.at.segment == foreign
                && gap.reason.contains("log"))
        });
        assert!(named, "{:?}", salvage(&disk).1);
        let after = salvage(&disk).0;
        if foreign == newest.next() {
            assert_eq!(after, before);
        } else {
            assert!(after.len() < before.len());
        }
    }
}

/// S5: G3 holds for what may never have been acknowledged.
#[test]
fn a_torn_frame_at_the_end_is_a_gap_as_a_whole() {
    let disk = SimStorage::new(1);
    let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
    wal.commit([payload(0), payload(1)]).unwrap();
    let end = disk.segments()[0].1;
    wal.commit((2..6).map(payload).collect::<Append>()).unwrap();
    disk.kill();
    drop(wal);
    // In the last of its four records.
    let last = 80 + 4 * 8 + (2..5).map(|lsn| payload(lsn).len() as u64).sum::<u64>();
    assert!(disk.damage(disk.segments()[0].0, end + last + 3, 1));
    let (lsns, gaps) = salvage(&disk);
    assert_eq!(lsns, [0, 1]);
    assert_eq!(lost(&gaps), [2, 3, 4, 5], "{gaps:?}");
    assert!(gaps.iter().all(|gap| gap.unconfirmed), "{gaps:?}");
}
