//! What lies on the simulated medium, and what a crash makes of it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::Outcome;
use crate::storage::Sync;
use crate::{Limits, Lsn, Position, SegmentId, StorageError};

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) segments: BTreeMap<SegmentId, Segment>,
    pub(super) random: u64,
    pub(super) limits: Limits,
    /// The term that has the writer's role.
    pub(super) owner: Option<u64>,
    pub(super) terms: u64,
    pub(super) fail_after: Option<u64>,
    /// How many segments find room.
    pub(super) room: usize,
    /// One more does, for recovery, until `prepare` has been called.
    pub(super) reserve: bool,
    pub(super) prepared: bool,
    pub(super) turns: Turns,
}

/// The order of appends, where the storage keeps it ([`Limits::in_order`]): what is ready too
/// early waits here, unseen, and is gone with its writer.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    pub(super) given: u64,
    pub(super) due: u64,
    pub(super) waiting: BTreeMap<u64, (Position, Vec<Bytes>)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// The LSN that its name says.
    pub(super) first: Lsn,
    pub(super) appends: Vec<Stored>,
    pub(super) named: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) synced: bool,
    /// A failed sync has lost it: it can be read, and no later sync stores it.
    pub(super) lost: bool,
}

impl Stored {
    /// What a crash does to an append that was not synced.
    pub(super) fn suffer(&mut self, random: &mut u64) {
        match next(random) % 4 {
            0 => {}
            1 => self.bytes.fill(0),
            2 => {
                let keep = usize::try_from(next(random)).unwrap_or(0) % (self.bytes.len() + 1);
                self.bytes
                    .iter_mut()
                    .skip(keep / 512 * 512)
                    .for_each(|byte| *byte = 0);
            }
            _ => {
                // Sectors reach the medium in any order.
                for sector in self.bytes.chunks_mut(512) {
                    if next(random).is_multiple_of(2) {
                        sector.fill(0);
                    }
                }
            }
        }
    }
}

impl Segment {
    pub(super) fn length(&self) -> u64 {
        self.appends
            .last()
            .map_or(0, |last| last.offset + last.bytes.len() as u64)
    }
}

impl Disk {
    pub(super) fn check(&mut self, term: u64) -> Outcome<()> {
        if self.owner != Some(term) {
            return Err(injected("the process that held this handle has crashed"));
        }
        Ok(())
    }

    pub(super) fn fails_now(&mut self) -> bool {
        let fails = self.fail_after.take_if(|left| *left == 0).is_some();
        self.fail_after = self.fail_after.map(|left| left - 1);
        fails
    }

    pub(super) fn end_writer(&mut self) {
        self.owner = None;
        self.fail_after = None;
        self.turns = Turns::default();
    }

    /// Takes an append whose turn this is, and those behind it that wait for theirs.
    pub(super) fn in_turn(&mut self, turn: u64, at: Position, frame: Vec<Bytes>) -> Outcome<()> {
        if self.fails_now() {
            // It is stored whole or not at all, and nobody knows which.
            if !next(&mut self.random).is_multiple_of(2) {
                self.turns.waiting.insert(turn, (at, frame));
                self.take_turns()?;
            }
            return Err(injected("an injected fault"));
        }
        self.turns.waiting.insert(turn, (at, frame));
        self.take_turns()
    }

    pub(super) fn take_turns(&mut self) -> Outcome<()> {
        while let Some((at, frame)) = self.turns.waiting.remove(&self.turns.due) {
            self.turns.due += 1;
            self.append(at, &frame, Sync::Yes)?;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, at: Position, frame: &[Bytes], sync: Sync) -> Outcome<()> {
        if at.offset == 0 && self.segments.len() >= self.room {
            let kept_back = !self.prepared && std::mem::take(&mut self.reserve);
            if !kept_back {
                return Err(StorageError::Full(at.to_string()));
            }
        }
        let fails = !self.limits.in_order && self.fails_now();
        let segment = match (at.offset, self.segments.get_mut(&at.segment)) {
            (0, Some(_)) => return Err(StorageError::Conflict(at.to_string())),
            (0, None) => {
                let segment = self.segments.entry(at.segment).or_default();
                segment.first = at.lsn;
                segment
            }
            (_, None) => return Err(StorageError::NotFound(at.to_string())),
            (_, Some(segment)) => segment,
        };
        let bytes: Vec<u8> = frame.iter().flatten().copied().collect();
        let overlaps = segment.appends.iter().any(|stored| {
            stored.offset < at.offset + bytes.len() as u64
                && at.offset < stored.offset + stored.bytes.len() as u64
        });
        if overlaps {
            return Err(StorageError::Conflict(at.to_string()));
        }
        segment.appends.push(Stored {
            offset: at.offset,
            bytes,
            synced: false,
            lost: fails,
        });
        segment.appends.sort_by_key(|stored| stored.offset);
        if fails {
            return Err(injected("an injected fault"));
        }
        if sync == Sync::Yes {
            self.sync();
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        for segment in self.segments.values_mut() {
            segment.named = true;
            segment
                .appends
                .iter_mut()
                .for_each(|stored| stored.synced |= !stored.lost);
        }
    }

    pub(super) fn lose_unsynced(&mut self) {
        let segments = self.segments.values_mut();
        let unsynced = segments.flat_map(|segment| &mut segment.appends);
        for stored in unsynced.filter(|stored| !stored.synced) {
            stored.lost = true;
        }
    }

    pub(super) fn segment(&self, segment: SegmentId) -> Outcome<&Segment> {
        let found = self.segments.get(&segment);
        found.ok_or_else(|| StorageError::NotFound(format!("segment {segment}")))
    }

    pub(super) fn read(&self, segment: SegmentId, range: &Range<u64>) -> Outcome<Bytes> {
        let found = self.segment(segment)?;
        let end = range.end.min(found.length());
        let length = usize::try_from(end.saturating_sub(range.start)).unwrap_or(0);
        let mut out = vec![0; length];
        for stored in &found.appends {
            let start = range.start.max(stored.offset);
            let end = end.min(stored.offset + stored.bytes.len() as u64);
            let within = |from: u64| {
                let part = start.checked_sub(from)?..end.checked_sub(from)?;
                Some(usize::try_from(part.start).ok()?..usize::try_from(part.end).ok()?)
            };
            let from = within(stored.offset).and_then(|part| stored.bytes.get(part));
            let to = within(range.start).and_then(|part| out.get_mut(part));
            if let (Some(from), Some(to)) = (from, to) {
                to.copy_from_slice(from);
            }
        }
        Ok(out.into())
    }
}

pub(super) fn injected(what: &str) -> StorageError {
    StorageError::io("simulated storage", io::Error::other(what.to_owned()))
}

/// xorshift64* (Vigna): small, seeded, good enough to choose fates.
pub(super) fn next(random: &mut u64) -> u64 {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}
