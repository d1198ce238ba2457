//! Every order of events, step by step.

use bytes::Bytes;

use super::*;
use crate::{Epoch, Identity, Position, Writer};

fn start() -> Start {
    Start {
        log: Identity::new(1),
        writer: Writer {
            epoch: Epoch::new(1),
            id: Identity::new(1),
        },
        next_segment: SegmentId::new(1),
        previous: SegmentId::default(),
        previous_end: 0,
        unsealed: None,
        previous_seed: 0,
        next: Lsn::ZERO,
        chain: 0,
        copied_until: Lsn::ZERO,
        durable: Lsn::ZERO,
        released: Lsn::ZERO,
        holds: Holds::new(),
        truncates: false,
        time: 0,
    }
}

fn committer(in_flight: u32) -> Committer {
    from(start(), in_flight)
}

fn from(start: Start, in_flight: u32) -> Committer {
    let limits = Limits {
        align: 4096,
        in_flight,
        append_bytes: 1 << 30,
        ..Limits::default()
    };
    let shape = Shape {
        segment_bytes: 64 << 10,
        compress: false,
    };
    Committer::new(start, limits, shape)
}

fn records(committer: &mut Committer, count: usize, bytes: usize, durable: bool) -> Write {
    let lengths = vec![u32::try_from(bytes).unwrap(); count];
    let payload = vec![0; count * bytes].into();
    let group = Group::of([payload].into(), lengths.into(), durable);
    committer.records(group, false, 0)
}

fn lsns(committer: &Committer) -> (u64, u64) {
    (committer.written().get(), committer.durable().get())
}

#[test]
fn only_the_contiguous_prefix_is_acknowledged() {
    let mut committer = committer(3);
    let writes: Vec<_> = (0..3)
        .map(|_| records(&mut committer, 2, 10, true))
        .collect();
    assert!(!committer.has_room());
    committer.stored(writes[2].id);
    committer.stored(writes[1].id);
    assert_eq!(lsns(&committer), (0, 0));
    committer.stored(writes[0].id);
    assert_eq!(lsns(&committer), (6, 6));
}

#[test]
fn what_is_not_synced_is_written_but_not_durable() {
    let mut committer = committer(1);
    let first = records(&mut committer, 1, 10, false);
    assert_eq!(
        first.sync,
        Sync::Yes,
        "the first frame of a segment is always synced"
    );
    committer.stored(first.id);
    let second = records(&mut committer, 1, 10, false);
    assert_eq!(second.sync, Sync::No);
    committer.stored(second.id);
    assert_eq!(lsns(&committer), (2, 1));
    committer.synced();
    assert_eq!(lsns(&committer), (2, 2));
}

#[test]
fn positions_are_aligned_and_never_handed_out_twice() {
    let mut committer = committer(1);
    let mut last = (SegmentId::default(), 0);
    for _ in 0..100 {
        let write = records(&mut committer, 3, 1500, true);
        assert_eq!((write.at.offset % 4096, write.end_offset % 4096), (0, 0));
        assert!(
            write.end_offset <= 64 << 10,
            "a segment keeps within its size"
        );
        let place = (write.at.segment, write.at.offset);
        assert!(place >= last, "{place:?} after {last:?}");
        last = (write.at.segment, write.end_offset);
        committer.stored(write.id);
    }
}

#[test]
fn a_segment_is_sealed_only_once_its_successor_is_stored() {
    let mut committer = committer(1);
    let mut rolls = 0;
    for _ in 0..40 {
        let write = records(&mut committer, 1, 5000, true);
        let rolled = write
            .begins
            .as_ref()
            .is_some_and(|begun| begun.header.previous != SegmentId::default());
        assert!(
            committer.seal(0).is_none(),
            "not while the write is under way"
        );
        committer.stored(write.id);
        if rolled {
            assert_eq!(committer.durable(), write.at.lsn, "not before the seal");
        }
        let seal = committer.seal(0);
        assert_eq!(seal.is_some(), rolled);
        if let Some(seal) = seal {
            rolls += 1;
            assert_eq!(seal.at.segment.next(), write.at.segment);
            assert_eq!(seal.at.lsn, write.at.lsn);
            assert!(seal.end_offset <= 64 << 10);
            committer.stored(seal.id);
        }
        assert_eq!(committer.durable(), committer.next());
    }
    assert!(rolls > 2);
}

#[test]
fn a_release_counts_once_a_synced_frame_has_said_it() {
    let mut committer = committer(1);
    let write = records(&mut committer, 5, 10, true);
    committer.stored(write.id);
    committer.release(Lsn::new(3));
    let unsynced = records(&mut committer, 1, 10, false);
    committer.stored(unsynced.id);
    assert_eq!(committer.released_durably(), Lsn::ZERO);
    let mark = committer.mark(Kind::Mark, Sync::Yes, 0);
    committer.stored(mark.id);
    assert_eq!(committer.released_durably(), Lsn::new(3));
}

#[test]
fn what_found_no_space_leaves_no_trace() {
    let mut committer = committer(1);
    let first = records(&mut committer, 1, 10, true);
    committer.stored(first.id);
    let refused = records(&mut committer, 1, 10, true);
    committer.revert(&refused);
    let again = records(&mut committer, 1, 10, true);
    assert_eq!(again.at, refused.at);
    committer.stored(again.id);
    assert_eq!(lsns(&committer), (2, 2));
    let begun = first.begins.unwrap();
    assert_eq!(begun.index.lock().entries().len(), 2);
}

#[test]
fn times_never_go_back() {
    let mut committer = committer(1);
    let mut times = Vec::new();
    for time in [5, 9, 3, 10] {
        let payload = Bytes::from_static(b"x");
        let group = Group::of([payload].into(), [1].as_slice().into(), false);
        let write = committer.records(group, true, time);
        committer.stored(write.id);
        times.push(committer.time);
    }
    assert_eq!(times, [5, 9, 9, 10]);
}

#[test]
fn the_log_goes_on_behind_a_cut() {
    let mut committer = committer(1);
    for _ in 0..3 {
        let write = records(&mut committer, 2, 10, true);
        committer.stored(write.id);
    }
    let at = Position {
        segment: SegmentId::new(1),
        offset: 8192,
        lsn: Lsn::new(2),
    };
    committer.truncate(Cut { at, chain: 7 }, Lsn::new(3));
    assert_eq!(lsns(&committer), (2, 2));
    let write = records(&mut committer, 1, 10, true);
    let header = write.begins.unwrap().header;
    assert!(header.truncates);
    assert_eq!(
        (header.segment, header.first),
        (SegmentId::new(2), Lsn::new(2))
    );
    assert_eq!(
        (header.previous, header.previous_end),
        (at.segment, at.offset)
    );
    assert_eq!((header.chain, header.copied_until), (7, Lsn::new(3)));
    committer.stored(write.id);
    // G4: that the log went on is noted behind what was cut off, before anything is acknowledged.
    assert_eq!(lsns(&committer), (3, 2));
    let seal = committer.seal(0).unwrap();
    assert_eq!(
        (seal.at.segment, seal.at.lsn),
        (SegmentId::new(1), Lsn::new(6))
    );
    committer.stored(seal.id);
    assert_eq!(lsns(&committer), (3, 3));
}

/// G4: the segment in which an earlier writer left the log is sealed where that writer ended it.
#[test]
fn nothing_is_acknowledged_before_an_earlier_writers_segment_is_sealed() {
    let at = Position {
        segment: SegmentId::new(4),
        offset: 12_288,
        lsn: Lsn::new(9),
    };
    let start = Start {
        previous: at.segment,
        next_segment: at.segment.next(),
        next: Lsn::new(7),
        durable: Lsn::new(7),
        unsealed: Some(Cut { at, chain: 3 }),
        ..start()
    };
    let mut committer = from(start, 1);
    assert!(committer.seal(0).is_none(), "nothing follows yet");
    let write = records(&mut committer, 1, 10, true);
    assert!(committer.seal(0).is_none(), "what follows is not stored");
    committer.stored(write.id);
    assert_eq!(lsns(&committer), (8, 7));
    let seal = committer.seal(0).unwrap();
    assert_eq!((seal.at, seal.sync), (at, Sync::Yes));
    committer.stored(seal.id);
    assert_eq!(lsns(&committer), (8, 8));
}

/// An open may read the newest segment only, and a seal stands in the one before it.
#[test]
fn what_only_a_seal_says_was_released_is_not_deleted() {
    let mut committer = committer(1);
    let mut write = records(&mut committer, 1, 5000, true);
    while write.at.segment == SegmentId::new(1) {
        committer.stored(write.id);
        write = records(&mut committer, 1, 5000, true);
    }
    committer.release(Lsn::new(1));
    committer.stored(write.id);
    let seal = committer.seal(0).unwrap();
    committer.stored(seal.id);
    assert_eq!(committer.released_durably(), Lsn::ZERO);
    let mark = committer.mark(Kind::Mark, Sync::Yes, 0);
    committer.stored(mark.id);
    assert_eq!(committer.released_durably(), Lsn::new(1));
}
