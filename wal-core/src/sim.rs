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
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::storage::{IoFuture, SegmentMeta, Sync};
use crate::{Epoch, Identity, Limits, Lsn, Position, SegmentId, Storage, StorageError, Writer};

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

#[derive(Debug)]
struct Disk {
    segments: BTreeMap<SegmentId, Segment>,
    random: u64,
    limits: Limits,
    /// The term that has the writer's role.
    owner: Option<u64>,
    terms: u64,
    fail_after: Option<u64>,
    /// How many segments find room.
    room: usize,
    /// One more does, for recovery, until `prepare` has been called.
    reserve: bool,
    prepared: bool,
    turns: Turns,
}

/// The order of appends, where the storage keeps it ([`Limits::in_order`]): what is ready too
/// early waits here, unseen, and is gone with its writer.
#[derive(Clone, Debug, Default)]
struct Turns {
    given: u64,
    due: u64,
    waiting: BTreeMap<u64, (Position, Vec<Bytes>)>,
}

#[derive(Clone, Debug, Default)]
struct Segment {
    /// The LSN that its name says.
    first: Lsn,
    appends: Vec<Stored>,
    named: bool,
}

#[derive(Clone, Debug)]
struct Stored {
    offset: u64,
    bytes: Vec<u8>,
    synced: bool,
    /// A failed sync has lost it: it can be read, and no later sync stores it.
    lost: bool,
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

impl Stored {
    /// What a crash does to an append that was not synced.
    fn suffer(&mut self, random: &mut u64) {
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
    fn length(&self) -> u64 {
        self.appends
            .last()
            .map_or(0, |last| last.offset + last.bytes.len() as u64)
    }
}

impl Disk {
    fn check(&mut self, term: u64) -> Outcome<()> {
        if self.owner != Some(term) {
            return Err(injected("the process that held this handle has crashed"));
        }
        Ok(())
    }

    fn fails_now(&mut self) -> bool {
        let fails = self.fail_after.take_if(|left| *left == 0).is_some();
        self.fail_after = self.fail_after.map(|left| left - 1);
        fails
    }

    fn end_writer(&mut self) {
        self.owner = None;
        self.fail_after = None;
        self.turns = Turns::default();
    }

    /// Takes an append whose turn this is, and those behind it that wait for theirs.
    fn in_turn(&mut self, turn: u64, at: Position, frame: Vec<Bytes>) -> Outcome<()> {
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

    fn take_turns(&mut self) -> Outcome<()> {
        while let Some((at, frame)) = self.turns.waiting.remove(&self.turns.due) {
            self.turns.due += 1;
            self.append(at, &frame, Sync::Yes)?;
        }
        Ok(())
    }

    fn append(&mut self, at: Position, frame: &[Bytes], sync: Sync) -> Outcome<()> {
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

    fn sync(&mut self) {
        for segment in self.segments.values_mut() {
            segment.named = true;
            segment
                .appends
                .iter_mut()
                .for_each(|stored| stored.synced |= !stored.lost);
        }
    }

    fn lose_unsynced(&mut self) {
        let segments = self.segments.values_mut();
        let unsynced = segments.flat_map(|segment| &mut segment.appends);
        for stored in unsynced.filter(|stored| !stored.synced) {
            stored.lost = true;
        }
    }

    fn segment(&self, segment: SegmentId) -> Outcome<&Segment> {
        let found = self.segments.get(&segment);
        found.ok_or_else(|| StorageError::NotFound(format!("segment {segment}")))
    }

    fn read(&self, segment: SegmentId, range: &Range<u64>) -> Outcome<Bytes> {
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

/// Finishes after some polls; until then another append may overtake it. An append to a
/// segment that is still being created waits for that, unless it has failed.
struct Late<H, W: FnOnce() -> Outcome<()>> {
    polls: u64,
    /// So many more polls while `held`.
    patience: u64,
    held: H,
    work: Option<W>,
}

impl<H, W> Future for Late<H, W>
where
    H: Fn() -> bool + Unpin,
    W: FnOnce() -> Outcome<()> + Unpin,
{
    type Output = Outcome<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls > 0 {
            self.polls -= 1;
        } else if self.patience > 0 && (self.held)() {
            self.patience -= 1;
        } else {
            return Poll::Ready(self.work.take().map_or(Ok(()), |work| work()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Work that was begun is done, whether or not anybody waits for it.
impl<H, W: FnOnce() -> Outcome<()>> Drop for Late<H, W> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let _ = work();
        }
    }
}

fn injected(what: &str) -> StorageError {
    StorageError::io("simulated storage", io::Error::other(what.to_owned()))
}

/// xorshift64* (Vigna): small, seeded, good enough to choose fates.
fn next(random: &mut u64) -> u64 {
    *random ^= *random >> 12;
    *random ^= *random << 25;
    *random ^= *random >> 27;
    random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
}
