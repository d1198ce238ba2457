//! The contract that storage plugs into.
//!
//! A log is a row of numbered *segments*; a segment is a row of bytes that
//! only grows. [`Storage`] stores frames at positions that the log chooses and
//! knows nothing of what is in them. One rule makes one trait fit both files
//! and object stores: *a frame goes to a position that no frame of this log
//! has held, and never replaces one.*
//!
//! What the log relies on, and nothing more:
//!
//! 1. `append` that is ready with [`Sync::Yes`]: the frame is durable, the name
//!    of its segment included, and so is everything whose `append` was ready
//!    before this call began.
//! 2. `append` that is ready with [`Sync::No`]: accepted. A later `sync` that is
//!    ready makes everything durable whose `append` was ready before that call
//!    began, across segments.
//! 3. Up to [`Limits::in_flight`] appends may be under way and may finish in any
//!    order; the log acknowledges only the contiguous prefix.
//! 4. The first append to a segment has offset 0 and creates it; it fails with
//!    [`StorageError::Conflict`] if the name is taken. Later appends to it follow
//!    without gaps, each padded to [`Limits::align`]; none is begun before the first is ready
//!    (but see [`Limits::in_order`]). A segment that was left for the next gets one more append at
//!    most, its seal: behind all that it holds, also if an earlier writer left it
//!    (but see [`Limits::reopens`]).
//! 5. `append` that fails with [`StorageError::Full`] has stored nothing, and the position is
//!    still free. After any other error from `append` or `sync` the state of what was not yet durable
//!    is unknown. The log never calls `append` or `sync` on that storage again (G5).
//! 6. `read` returns what lies there, possibly shorter at the segment's end, and
//!    possibly bytes that nobody appended beyond it (space prepared ahead of use):
//!    length is logical, scanning finds it.
//! 7. `list` names every segment that has a durable name. Names that are not a segment's
//!    are ignored. It should cost little for each: opening calls it, and looks at the newest
//!    few segments only.
//! 8. What `delete` and `delete_before` removed stays removed, whatever happens after.
//! 9. Work starts at the call. Dropping a returned future cancels nothing.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Epoch, Identity, Lsn, Position, SegmentId};

/// The future of a storage call. Storage that blocks returns one that is ready.
pub type IoFuture<T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'static>>;

/// Whether an append must be durable before it is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// Durable when ready, name included.
    Yes,
    /// Accepted when ready; durable after a later `sync`.
    No,
}

/// What a storage can do. Constant for its lifetime.
///
/// ```
/// use wal_core::Limits;
/// let files = Limits { align: 4096, append_bytes: 1 << 30, ..Limits::default() };
/// assert_eq!(files.in_flight, 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Every append starts at a multiple of this many bytes and is padded to it:
    /// a power of two, 1 to 65,536.
    pub align: u32,
    /// How many appends may be under way at once: 1 or more.
    pub in_flight: u32,
    /// The longest append, in bytes.
    pub append_bytes: u64,
    /// After so many appends to a segment the log begins the next one, however short they were:
    /// 1 or more.
    pub segment_appends: u32,
    /// The storage keeps the order itself, and what can be read is durable (object stores with
    /// a fence). Whatever was in flight, the next writer and every reader find exactly the appends
    /// before the first one that is missing; `length` is exact. So the log does not wait for
    /// a segment's first append before it begins others (rule 4), and recovery keeps
    /// in place what it finds, instead of storing it anew.
    pub in_order: bool,
    /// A writer can seal the segment that an earlier writer left: then the loss of the first
    /// segment that it began itself is noticed (G4). Not done where the storage keeps the order.
    pub reopens: bool,
}

impl Default for Limits {
    /// One append at a time, of any bytes up to 1 GiB.
    fn default() -> Self {
        Limits {
            align: 1,
            in_flight: 1,
            append_bytes: 1 << 30,
            segment_appends: u32::MAX,
            in_order: false,
            reopens: true,
        }
    }
}

/// The writer's role, as given by [`Storage::acquire`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// Higher than that of every earlier writer that stored a frame.
    pub epoch: Epoch,
    /// Random, fresh for every call of `acquire`.
    pub id: Identity,
}

/// A segment as [`Storage::list`] sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentMeta {
    /// Its number.
    pub id: SegmentId,
    /// The LSN of the position that created it, if its name tells; else the log reads the
    /// segment's header.
    pub first: Option<Lsn>,
}

/// Storage for one log. The [module documentation](crate::storage) is the contract.
///
/// Implementations may block inside the call (and then return a ready future)
/// or return a future that something else drives; the log works with both and
/// needs no async runtime.
pub trait Storage: fmt::Debug + Send + std::marker::Sync + 'static {
    /// What this storage can do.
    fn limits(&self) -> Limits;

    /// Takes the writer's role: a lock, or a fence. Readers do not call it.
    fn acquire(&self) -> IoFuture<Writer>;

    /// Gives up the writer's role. Dropping the storage does the same.
    fn resign(&self) -> IoFuture<()>;

    /// The number of the process that asks. A child of `fork` gets another one than its parent, and
    /// the log refuses to work there. Asked with every append: storage may know a way that is quicker
    /// than the system call.
    fn process(&self) -> u32 {
        std::process::id()
    }

    /// Makes sure that the next writer's recovery will find room for a segment of this size,
    /// whatever this writer appends. [`StorageError::Full`] if there is none: then nothing is
    /// broken, and the log takes no records until a later call succeeds (G7). Storage that
    /// is never full has nothing to do.
    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        let _ = segment_bytes;
        Box::pin(std::future::ready(Ok(())))
    }

    /// The next segment will begin at this position, with the next frame of records: said before
    /// the append of the last one that goes elsewhere. Storage whose names take time to become durable can
    /// see to that beside it. It binds nobody: the log may be truncated or end before, and the
    /// segment begin at another LSN. Then what was done for it must not be seen (as a segment
    /// without a header, which is ignored, it may). Doing nothing is right.
    fn announce(&self, at: Position) {
        let _ = at;
    }

    /// Stores the concatenation of `frame` at `at`.
    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()>;

    /// Makes durable what was accepted.
    fn sync(&self) -> IoFuture<()>;

    /// Reads bytes of a segment; shorter than asked only at its end.
    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes>;

    /// The segments, in ascending order.
    fn list(&self) -> IoFuture<Vec<SegmentMeta>>;

    /// As [`list`](Storage::list), for who reads what is left of a damaged log: where damage
    /// keeps `list` from naming all segments, this one names those that it can. From then on `read`
    /// may return bytes that nobody appended, also within a segment, and what is appended later
    /// may not be seen.
    fn list_damaged(&self) -> IoFuture<Vec<SegmentMeta>> {
        self.list()
    }

    /// An upper bound of a segment's length in bytes.
    fn length(&self, segment: SegmentId) -> IoFuture<u64>;

    /// Removes every segment below `segment`, lowest first.
    fn delete_before(&self, segment: SegmentId) -> IoFuture<()>;

    /// Removes this one segment, which holds nothing that was ever acknowledged.
    fn delete(&self, segment: SegmentId) -> IoFuture<()>;
}

impl<S: Storage + ?Sized> Storage for Arc<S> {
    fn limits(&self) -> Limits {
        (**self).limits()
    }
    fn acquire(&self) -> IoFuture<Writer> {
        (**self).acquire()
    }
    fn resign(&self) -> IoFuture<()> {
        (**self).resign()
    }
    fn process(&self) -> u32 {
        (**self).process()
    }
    fn prepare(&self, segment_bytes: u64) -> IoFuture<()> {
        (**self).prepare(segment_bytes)
    }
    fn announce(&self, at: Position) {
        (**self).announce(at);
    }
    fn append(&self, at: Position, frame: Vec<Bytes>, sync: Sync) -> IoFuture<()> {
        (**self).append(at, frame, sync)
    }
    fn sync(&self) -> IoFuture<()> {
        (**self).sync()
    }
    fn read(&self, segment: SegmentId, range: Range<u64>) -> IoFuture<Bytes> {
        (**self).read(segment, range)
    }
    fn list(&self) -> IoFuture<Vec<SegmentMeta>> {
        (**self).list()
    }
    fn list_damaged(&self) -> IoFuture<Vec<SegmentMeta>> {
        (**self).list_damaged()
    }
    fn length(&self, segment: SegmentId) -> IoFuture<u64> {
        (**self).length(segment)
    }
    fn delete_before(&self, segment: SegmentId) -> IoFuture<()> {
        (**self).delete_before(segment)
    }
    fn delete(&self, segment: SegmentId) -> IoFuture<()> {
        (**self).delete(segment)
    }
}

/// Why a storage call failed, in the terms in which the log decides what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another writer has the role; the text names it as well as the storage can.
    #[error("in use: {0}")]
    InUse(String),
    /// The name or position is taken by something this writer did not store.
    #[error("conflict: {0}")]
    Conflict(String),
    /// There is no such segment, or the place of the log does not exist.
    #[error("not found: {0}")]
    NotFound(String),
    /// No space or quota left.
    #[error("no space left: {0}")]
    Full(String),
    /// Another writer has taken the log over; this one can never write again.
    #[error("fenced: {0}")]
    Fenced(String),
    /// Anything else the system reported.
    #[error("{context}: {cause}")]
    Io {
        /// What was being done, to what.
        context: String,
        /// What the system said.
        cause: Arc<io::Error>,
    },
}

impl StorageError {
    /// Wraps what the system said while `context` was being done.
    #[must_use]
    pub fn io(context: impl Into<String>, cause: io::Error) -> Self {
        let context = context.into();
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StorageError::Full(format!("{context}: {cause}"))
            }
            io::ErrorKind::NotFound => StorageError::NotFound(format!("{context}: {cause}")),
            _ => StorageError::Io {
                context,
                cause: Arc::new(cause),
            },
        }
    }
}
