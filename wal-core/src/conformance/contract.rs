//! The numbered rules of the contract, as far as they can be seen from outside.

mod raw;

use std::time::{Duration, Instant};

use self::raw::{Raw, end, frame};
use super::Place;
use crate::block::block_on;
use crate::storage::Sync;
use crate::{Lsn, Position, SegmentId, Storage, StorageError};

/// Checks whose outcome is chance are repeated so often.
const ROUNDS: u8 = 12;

/// The limits are within the format's bounds and do not change.
pub fn limits_are_sane_and_stay<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let limits = place.open().limits();
    assert!(
        limits.align.is_power_of_two() && limits.align <= 65_536,
        "{limits:?}"
    );
    assert!(limits.in_flight >= 1, "{limits:?}");
    assert!(limits.append_bytes >= 128 << 10, "{limits:?}");
    let raw = Raw::writer(&place);
    assert_eq!(raw.storage.limits(), limits);
}

/// Nothing is listed where nothing was stored; every check needs that.
pub fn a_new_place_is_empty<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    assert_eq!(block_on(place.open().list()).unwrap(), []);
    let raw = Raw::writer(&place);
    raw.check(&raw.storage);
}

/// Rule 6: what lies in a segment is read, in any part, by the writer and by others, also
/// after it was read before.
pub fn what_is_appended_is_read<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    for blocks in [1, 3, 2] {
        raw.append(1, blocks, Sync::Yes);
        raw.check(&raw.storage);
        raw.check(&place.open());
    }
    raw.append(1, 1, Sync::No);
    raw.check(&raw.storage);
    let whole: Vec<u8> = raw
        .written
        .iter()
        .flat_map(|(_, bytes)| bytes.clone())
        .collect();
    let segment = SegmentId::new(1);
    for range in [
        0..1,
        1..whole.len() - 1,
        16..19,
        whole.len() - 1..whole.len(),
        5..5,
    ] {
        let read = block_on(
            raw.storage
                .read(segment, range.start as u64..range.end as u64),
        );
        assert!(
            read.unwrap() == whole[range.clone()],
            "rule 6: part {range:?}"
        );
    }
    // Beyond the end: shorter, or bytes of no meaning; never longer than asked.
    let length = whole.len() as u64;
    let read = block_on(raw.storage.read(segment, 0..length + (1 << 20))).unwrap();
    assert!(
        read.len() as u64 <= length + (1 << 20) && read.starts_with(&whole),
        "rule 6"
    );
    let beyond = block_on(raw.storage.read(segment, 1 << 50..(1 << 50) + 10)).unwrap();
    assert!(beyond.is_empty(), "rule 6: bytes where no segment reaches");
}

/// `NotFound` for a segment that does not exist, not an empty one.
pub fn what_is_not_there_is_not_found<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 1, Sync::Yes);
    let other = SegmentId::new(2);
    let read = block_on(raw.storage.read(other, 0..10));
    assert!(matches!(read, Err(StorageError::NotFound(_))), "{read:?}");
    let length = block_on(raw.storage.length(other));
    assert!(
        matches!(length, Err(StorageError::NotFound(_))),
        "{length:?}"
    );
}

/// Rule 7: every segment, in ascending order, for writer and others; numbers may be skipped.
pub fn list_names_every_segment_in_order<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    for segment in [1, 2, 4, 9, 10, 11] {
        raw.append(segment, 1, Sync::Yes);
        raw.check(&raw.storage);
        raw.check(&place.open());
    }
}

/// Rule 4, and the rule above all: a position that was taken is never given out again.
pub fn a_taken_position_is_never_replaced<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 2, Sync::Yes);
    let at = raw.written[0].0;
    let other = frame(&raw.storage, 1, 99);
    let taken = block_on(raw.storage.append(at, other.clone(), Sync::Yes));
    assert!(
        matches!(taken, Err(StorageError::Conflict(_))),
        "rule 4: {taken:?}"
    );
    raw.check(&raw.storage);
    // A new writer finds it taken, too.
    let mut raw = end(&place, raw);
    block_on(raw.storage.acquire()).unwrap();
    let taken = block_on(raw.storage.append(at, other, Sync::Yes));
    assert!(
        matches!(taken, Err(StorageError::Conflict(_))),
        "rule 4: {taken:?}"
    );
    raw.check(&place.open());
    raw = end(&place, raw);
    raw.check(&raw.storage);
}

/// Rule 1: durable when ready, with the segment's name and with what was accepted before.
pub fn an_append_that_is_synced_is_durable_and_all_before_it<P: Place>(factory: &dyn Fn() -> P) {
    for round in 0..ROUNDS {
        let place = factory();
        let mut raw = Raw::writer(&place);
        raw.append(1, 1, Sync::Yes);
        for _ in 0..round % 4 {
            raw.append(1, 3, Sync::No);
        }
        if round % 3 == 0 {
            raw.append(2, 2, Sync::No);
        }
        let last = if round % 2 == 0 { 2 } else { 1 };
        raw.append(last, 4, Sync::Yes);
        let raw = end(&place, raw);
        raw.check(&raw.storage);
    }
}

/// Rule 2: a sync makes durable what was accepted before it, across segments.
pub fn a_sync_makes_durable_what_was_accepted<P: Place>(factory: &dyn Fn() -> P) {
    for round in 0..ROUNDS {
        let place = factory();
        let mut raw = Raw::writer(&place);
        for segment in 1..=1 + u64::from(round % 3) {
            raw.append(segment, 3, Sync::No);
            raw.append(segment, 4, Sync::No);
        }
        block_on(raw.storage.sync()).unwrap();
        let raw = end(&place, raw);
        raw.check(&raw.storage);
    }
}

/// Rule 3: as many appends as the storage takes at once may be under way.
pub fn appends_in_flight_all_arrive<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 1, Sync::Yes);
    for _ in 0..5 {
        let many = raw.storage.limits().in_flight.min(64);
        let flights: Vec<_> = (0..many).map(|_| raw.start(1, 2, Sync::Yes)).collect();
        for flight in flights.into_iter().rev() {
            block_on(flight).unwrap();
        }
        raw.check(&raw.storage);
    }
    let raw = end(&place, raw);
    raw.check(&raw.storage);
}

/// Rule 9: work starts at the call; who drops the future cancels nothing.
pub fn a_dropped_future_cancels_nothing<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 1, Sync::Yes);
    drop(raw.start(1, 2, Sync::Yes));
    let (at, bytes) = raw.written[1].clone();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let range = at.offset..at.offset + bytes.len() as u64;
        if block_on(raw.storage.read(at.segment, range)).is_ok_and(|read| read == bytes) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "rule 9: the append never happened"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    raw.append(1, 1, Sync::Yes);
    raw.check(&raw.storage);
}

/// The role is one writer's; it ends with `resign`, with a drop, and with the process.
pub fn there_is_one_writer<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 1, Sync::Yes);
    let other = place.open();
    let refused = block_on(other.acquire());
    assert!(
        matches!(refused, Err(StorageError::InUse(_))),
        "G6: {refused:?}"
    );
    raw.append(1, 1, Sync::Yes); // the holder is not disturbed
    raw.check(&other); // readers need no role
    block_on(raw.storage.resign()).unwrap();
    block_on(other.acquire()).expect("the role was resigned");
    let refused = block_on(raw.storage.acquire());
    assert!(
        matches!(refused, Err(StorageError::InUse(_))),
        "G6: {refused:?}"
    );
    block_on(other.resign()).unwrap();
    if place.kill() {
        let holder = place.open();
        block_on(holder.acquire()).unwrap();
        place.kill();
        block_on(place.open().acquire()).expect("the holder was killed");
    }
}

/// Each writer's epoch is higher than those of all who stored a frame before it.
pub fn epochs_grow_and_identities_are_fresh<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut before: Vec<crate::Writer> = Vec::new();
    for segment in 1..6u64 {
        let storage = place.open();
        let writer = block_on(storage.acquire()).unwrap();
        assert!(
            before
                .iter()
                .all(|old| old.epoch < writer.epoch && old.id != writer.id),
            "{before:?}, then {writer:?}"
        );
        before.push(writer);
        let at = Position {
            segment: SegmentId::new(segment),
            offset: 0,
            lsn: Lsn::new(segment),
        };
        block_on(storage.append(at, frame(&storage, 1, 1), Sync::Yes)).unwrap();
        block_on(storage.resign()).unwrap();
    }
}

/// Rule 8: exactly what was to be deleted is gone, and stays so.
pub fn what_was_deleted_stays_deleted<P: Place>(factory: &dyn Fn() -> P) {
    for _ in 0..ROUNDS / 2 {
        let place = factory();
        let mut raw = Raw::writer(&place);
        (1..=6).for_each(|segment| raw.append(segment, 2, Sync::Yes));
        block_on(raw.storage.delete_before(SegmentId::new(1))).unwrap();
        raw.check(&raw.storage);
        block_on(raw.storage.delete_before(SegmentId::new(4))).unwrap();
        raw.written
            .retain(|(at, _)| at.segment >= SegmentId::new(4));
        raw.check(&raw.storage);
        raw.check(&place.open());
        block_on(raw.storage.delete(SegmentId::new(5))).unwrap();
        raw.written
            .retain(|(at, _)| at.segment != SegmentId::new(5));
        raw.check(&raw.storage);
        let gone = block_on(raw.storage.read(SegmentId::new(1), 0..1));
        assert!(matches!(gone, Err(StorageError::NotFound(_))), "{gone:?}");
        raw.append(7, 1, Sync::Yes);
        let raw = end(&place, raw);
        raw.check(&raw.storage);
    }
}

/// What was announced may begin there, elsewhere, or never; the writer itself is not shown
/// a segment that has not begun.
pub fn an_announcement_binds_nobody<P: Place>(factory: &dyn Fn() -> P) {
    for _ in 0..ROUNDS / 2 {
        let place = factory();
        let mut raw = Raw::writer(&place);
        let blocks = (64 << 10) / (raw.storage.limits().align as usize).max(64);
        (1..=3).for_each(|segment| raw.append(segment, blocks, Sync::Yes));
        block_on(raw.storage.delete_before(SegmentId::new(3))).unwrap();
        raw.written
            .retain(|(at, _)| at.segment >= SegmentId::new(3));
        for (segment, elsewhere) in [(4, false), (5, true), (6, false)] {
            let mut at = raw.place(segment);
            at.lsn = at.lsn.plus(u64::from(elsewhere));
            raw.storage.announce(at);
            raw.check(&raw.storage);
            raw.append(segment, 2, Sync::Yes);
            raw.check(&raw.storage);
            raw.check(&place.open());
        }
        raw.storage.announce(raw.place(7));
        let ended = end(&place, raw);
        block_on(ended.storage.acquire()).unwrap();
        let listed = block_on(ended.storage.list()).unwrap();
        let last = ended.written.last().map(|(at, _)| at.segment);
        for beyond in listed.iter().filter(|meta| Some(meta.id) > last) {
            block_on(ended.storage.delete(beyond.id)).unwrap();
        }
        ended.check(&ended.storage);
    }
}

/// Rule 5: `Full` has stored nothing, the position is still free, and works when space returns.
pub fn full_stores_nothing_and_breaks_nothing<P: Place>(factory: &dyn Fn() -> P) {
    let place = factory();
    let mut raw = Raw::writer(&place);
    raw.append(1, 1, Sync::Yes);
    if !place.limit(true) {
        return;
    }
    // Bounded: a place may have kept back more than it says.
    let mut segment = 2;
    let full = loop {
        match block_on(raw.start(segment, 2, Sync::Yes)) {
            Err(error) => break error,
            Ok(()) => segment += 1,
        }
        assert!(segment < 100, "the place is limited, and is never full");
    };
    assert!(matches!(full, StorageError::Full(_)), "rule 5: {full:?}");
    raw.written.pop();
    raw.check(&raw.storage);
    raw.check(&place.open());
    place.limit(false);
    raw.append(segment, 2, Sync::Yes);
    let raw = end(&place, raw);
    raw.check(&raw.storage);
}
