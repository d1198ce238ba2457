//! A seeded, in-memory storage that crashes and fails on request (feature `sim`).
//!
//! Faults it can inject, all deterministic from the seed:
//! - a crash: of what was not synced, each append is kept, dropped, cut short, or
//!   replaced by zeros, independently of its neighbours; a segment whose name was
//!   not durable may vanish;
//! - an error from the n-th append or sync from now, with the data left in doubt;
//! - no room for another segment;
//! - damage to stored bytes; segments lost, swapped, duplicated, cut short, zeroed;
//! - appends that finish late and out of order (more than one in flight).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{IoFuture, SegmentMeta, Sync};
use crate::{Epoch, Identity, Limits, Position, SegmentId, Storage, StorageError, Writer};

mod disk;
mod late;

use disk::{Disk, Segment, Turns, injected, next};
use late::Late;

/// A simulated disk. Clones share it; each clone can be one process's view of it.
///
/// ```
/// use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// let disk = SimStorage::new(42);
/// let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// wal.commit("kept")?;
/// disk.crash();
/// assert!(wal.commit("refused").is_err()); // that process is gone
/// let (_, recovery) = Wal::open(disk, Options::default())?;
/// assert_eq!(recovery.end, Lsn::new(1));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct SimStorage {
    disk: Arc<Mutex<Disk>>,
    /// Which writer's term this clone acquired; 0 for none.
    term: Arc<AtomicU64>,
}

impl Clone for SimStorage {
    fn clone(&self) -> Self {
        SimStorage {
            disk: Arc::clone(&self.disk),
            term: Arc::default(),
        }
    }
}

impl SimStorage {
    /// An empty disk. Equal seeds give equal crashes, delays and identities.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_limits(
            seed,
            Limits {
                align: 4096,
                in_flight: 1,
                append_bytes: 1 << 30,
                ..Limits::default()
            },
        )
    }

    /// An empty disk with these limits; with more than one append in flight, they finish
    /// late and out of order.
    #[must_use]
    pub fn with_limits(seed: u64, limits: Limits) -> Self {
        let disk = Disk {
            segments: BTreeMap::new(),
            random: seed ^ 0x5DEE_CE66_D1CE_5EED,
            limits,
            owner: None,
            terms: 0,
            fail_after: None,
            room: usize::MAX,
            reserve: false,
            prepared: false,
            turns: Turns::default(),
        };
        SimStorage {
            disk: Arc::new(Mutex::new(disk)),
            term: Arc::default(),
        }
    }

    /// Power loss: unsynced data takes a fate of its own, and whoever had the role is gone.
    pub fn crash(&self) {
        let disk = &mut *self.disk.lock();
        disk.end_writer();
        let random = &mut disk.random;
        disk.segments.retain(|_, segment| {
            for stored in &mut segment.appends {
                if !stored.synced {
                    stored.suffer(random);
                    (stored.synced, stored.lost) = (true, false);
                }
            }
            segment.named || next(random).is_multiple_of(2)
        });
        for segment in disk.segments.values_mut() {
            segment.named = true;
        }
    }

    /// kill -9: the writer is gone, the page cache stays, unsynced data included.
    pub fn kill(&self) {
        self.disk.lock().end_writer();
    }

    /// Lets the append or sync after `operations` more of them fail, once. What the failed one
    /// would have stored stays visible but is not durable, and no later sync stores it, as after
    /// a failed fsync.
    pub fn fail_after(&self, operations: u64) {
        self.disk.lock().fail_after = Some(operations);
    }

    /// Lets no more than this many segments find room from now on, and one that is kept
    /// back for recovery.
    pub fn limit_segments(&self, room: usize) {
        self.disk.lock().room = room;
    }

    /// Flips bits of the byte at this place; says whether there was one.
    pub fn damage(&self, segment: SegmentId, offset: u64, flip: u8) -> bool {
        let mut disk = self.disk.lock();
        let Some(segment) = disk.segments.get_mut(&segment) else {
            return false;
        };
        let mut bytes = segment.appends.iter_mut().filter_map(|stored| {
            let at = usize::try_from(offset.checked_sub(stored.offset)?).ok()?;
            stored.bytes.get_mut(at)
        });
        bytes.next().map(|byte| *byte ^= flip).is_some()
    }

    /// Removes a segment behind the log's back.
    pub fn lose(&self, segment: SegmentId) {
        self.disk.lock().segments.remove(&segment);
    }

    /// A disk of its own with the same contents, which nobody writes.
    #[must_use]
    pub fn fork(&self) -> SimStorage {
        let disk = self.disk.lock();
        let fork = SimStorage::with_limits(disk.random, disk.limits);
        fork.disk.lock().segments = disk.segments.clone();
        fork
    }

    /// Makes the segments those of another disk.
    pub fn restore(&self, other: &SimStorage) {
        let segments = other.disk.lock().segments.clone();
        self.disk.lock().segments = segments;
    }

    /// Makes one segment that of another disk.
    pub fn transplant(&self, other: &SimStorage, segment: SegmentId) {
        let foreign = other.disk.lock().segments.get(&segment).cloned();
        let mut disk = self.disk.lock();
        disk.segments
            .extend(foreign.map(|foreign| (segment, foreign)));
    }

    /// Exchanges the contents of two segments.
    pub fn swap(&self, one: SegmentId, other: SegmentId) {
        let mut disk = self.disk.lock();
        let (first, second) = (disk.segments.remove(&one), disk.segments.remove(&other));
        disk.segments.extend(first.map(|first| (other, first)));
        disk.segments.extend(second.map(|second| (one, second)));
    }

    /// Copies a segment under another number, which may be taken.
    pub fn duplicate(&self, segment: SegmentId, number: SegmentId) {
        let mut disk = self.disk.lock();
        let copy = disk.segments.get(&segment).cloned();
        disk.segments.extend(copy.map(|copy| (number, copy)));
    }

    /// Cuts a segment to at most this many bytes.
    pub fn truncate(&self, segment: SegmentId, bytes: u64) {
        if let Some(segment) = self.disk.lock().segments.get_mut(&segment) {
            segment.appends.retain(|stored| stored.offset < bytes);
            if let Some(last) = segment.appends.last_mut() {
                let left = usize::try_from(bytes - last.offset).unwrap_or(usize::MAX);
                last.bytes.truncate(left);
            }
        }
    }

    /// Overwrites these bytes of a segment with zeros, as far as it has them.
    pub fn zero(&self, segment: SegmentId, range: Range<u64>) {
        if let Some(segment) = self.disk.lock().segments.get_mut(&segment) {
            for stored in &mut segment.appends {
                for (at, byte) in (stored.offset..).zip(&mut stored.bytes) {
                    if range.contains(&at) {
                        *byte = 0;
                    }
                }
            }
        }
    }

    /// The segments on the disk and their lengths.
    #[must_use]
    pub fn segments(&self) -> Vec<(SegmentId, u64)> {
        let disk = self.disk.lock();
        disk.segments
            .iter()
            .map(|(id, segment)| (*id, segment.length()))
            .collect()
    }

    fn ready<T: Send + 'static>(&self, work: impl FnOnce(&mut Disk) -> Outcome<T>) -> IoFuture<T> {
        let result = work(&mut self.disk.lock());
        Box::pin(std::future::ready(result))
    }
}

type Outcome<T> = Result<T, StorageError>;

impl Storage for SimStorage {
    fn limits(&self) -> Limits {
        self.disk.lock().limits
    }

    fn acquire(&self) -> IoFuture<Writer> {
        self.ready(|disk| {
            if let Some(owner) = disk.owner {
                return Err(StorageError::InUse(format!("term {owner} has the log")));
            }
            disk.terms += 1;
            disk.owner = Some(disk.terms);
            self.term.store(disk.terms, Ordering::SeqCst);
            disk.prepared = false;
            let highest = disk.segments.keys().next_back().map_or(0, |id| id.get());
            let id =
                (u128::from(next(&mut disk.random)) << 64) | u128::from(next(&mut disk.random));
            Ok(Writer {
                epoch: Epoch::new(highest + 1),
                id: Identity::new(id),
            })
        })
    }

    fn resign(&self) -> IoFuture<()> {
        let term = self.term.load(Ordering::SeqCst);
        self.ready(|disk| {
            if disk.owner == Some(term) {
                (disk.owner, disk.turns) = (None, Turns::default());
            }
            Ok(())
        })
    }

    fn prepare(&self, _segment_bytes: u64) -> IoFuture<()> {
        self.ready(|disk| match disk.segments.len() > disk.room {
            true => Err(StorageError::Full(
                "recovery has used what was kept back".into(),
            )),
            false => {
                (disk.reserve, disk.prepared) = (true, true);
                Ok(())
            }
        })
    }

    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        let term = self.term.load(Ordering::SeqCst);
        let disk = Arc::clone(&self.disk);
        let (late, polls, turn) = {
            let disk = &mut *disk.lock();
            let late = disk.limits.in_flight > 1;
            let polls = if late { next(&mut disk.random) % 4 } else { 0 };
            let turn = disk.turns.given;
            disk.turns.given += u64::from(disk.owner == Some(term));
            (late, polls, disk.limits.in_order.then_some(turn))
        };
        let of_segment = Arc::clone(&disk);
        let creation_is_due = move || {
            let disk = of_segment.lock();
            let missing = !disk.segments.contains_key(&at.segment);
            missing && at.offset > 0 && late && turn.is_none() && disk.owner == Some(term)
        };
        let work = move || {
            let mut disk = disk.lock();
            disk.check(term)?;
            match turn {
                Some(turn) => disk.in_turn(turn, at, frame),
                None => disk.append(at, &frame, sync),
            }
        };
        Box::pin(Late {
            polls,
            patience: 1000,
            held: creation_is_due,
            work: Some(work),
        })
    }

    fn sync(&self) -> IoFuture<()> {
        let term = self.term.load(Ordering::SeqCst);
        self.ready(|disk| {
            disk.check(term)?;
            if disk.fails_now() {
                disk.lose_unsynced();
                return Err(injected("an injected fault"));
            }
            disk.sync();
            Ok(())
        })
    }

    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        self.ready(|disk| disk.read(segment, &range))
    }

    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        self.ready(|disk| {
            let segments = disk.segments.iter();
            Ok(segments
                .map(|(id, segment)| SegmentMeta {
                    id: *id,
                    first: Some(segment.first),
                })
                .collect())
        })
    }

    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        self.ready(|disk| disk.segment(segment).map(Segment::length))
    }

    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        self.ready(|disk| {
            disk.segments = disk.segments.split_off(&segment);
            Ok(())
        })
    }

    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        self.ready(|disk| {
            disk.segments.remove(&segment);
            Ok(())
        })
    }
}
