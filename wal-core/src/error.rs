//! Errors. Each answers two questions: is my data durable, and what do I do now?

use std::ops::Range;

use crate::{Lsn, Position, StorageError};

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The queue is full. Nothing was taken; append again when commits have finished.
    #[error("busy: {queued} of {limit} bytes are queued; append again when commits have finished")]
    Busy {
        /// Bytes waiting.
        queued: u64,
        /// [`Options::queue_bytes`](crate::Options::queue_bytes).
        limit: u64,
    },
    /// The append can never fit. Nothing was taken; split it or raise the limit.
    #[error(
        "append of {bytes} bytes exceeds the limit of {limit}; split it or raise `append_bytes`"
    )]
    TooLarge {
        /// Bytes of the append.
        bytes: u64,
        /// The most that one append may have.
        limit: u64,
    },
    /// There is no space for another segment. The append was not stored, and nothing is
    /// broken (G7): reading, releasing and closing go on, and appending works again when
    /// space returns.
    #[error(
        "no space left for the log; the append was not stored: free space or release records, then append again; {0}"
    )]
    Full(StorageError),
    /// An append without records. Nothing was taken.
    #[error("an append needs at least one record")]
    Empty,
    /// The name of a hold is longer than 255 bytes, or there are too many named holds.
    #[error("named hold refused: {0}")]
    Hold(&'static str),
    /// A write or sync failed earlier; nothing at or above `durable` is known to be
    /// stored, and this handle will never acknowledge anything again (G5). Close it
    /// and open the log anew: recovery tells what is there.
    #[error(
        "the log failed and takes nothing more; records below LSN {durable} are durable, \
         later ones are unknown until the log is opened again; cause: {cause}"
    )]
    Poisoned {
        /// End of the durable prefix.
        durable: Lsn,
        /// The failure.
        cause: StorageError,
    },
    /// The records were released; the oldest that is left is `oldest`.
    #[error("LSN {asked} was released; the oldest record is LSN {oldest}")]
    Released {
        /// What was asked for.
        asked: Lsn,
        /// The first LSN that can be read.
        oldest: Lsn,
    },
    /// The records were truncated since; the log goes on from `to`, with other records.
    #[error("the log was truncated to LSN {to}, and goes on from there with other records")]
    Truncated {
        /// The first LSN that was given up.
        to: Lsn,
    },
    /// The append was cancelled by [`Wal::rewind`](crate::Wal::rewind) before any of it was
    /// written. Its LSNs are given out again.
    #[error("the append was cancelled before it was written: the log was rewound to LSN {to}")]
    Rewound {
        /// The first LSN that was cancelled.
        to: Lsn,
    },
    /// The LSN is beyond the end of the log.
    #[error("LSN {asked} is beyond the end of the log, LSN {end}")]
    Beyond {
        /// What was asked for.
        asked: Lsn,
        /// One past the last record.
        end: Lsn,
    },
    /// Records that were durable are damaged or missing (G4).
    #[error("records {}..{} are lost: {reason} (at {at})", lost.start, lost.end)]
    Lost {
        /// The LSNs that are known to be affected; `end` is the durable LSN known so far.
        lost: Range<Lsn>,
        /// Where the damage was met.
        at: Position,
        /// What is wrong there.
        reason: String,
    },
    /// The log was written by a newer version of this crate.
    #[error("{at} has format version {found}; this program reads up to {known}: upgrade it")]
    NewerFormat {
        /// Where.
        at: Position,
        /// The version found.
        found: u16,
        /// The newest known.
        known: u16,
    },
    /// An option is out of range. Nothing was opened.
    #[error("option `{option}` is {value}: {rule}")]
    Option {
        /// Its name.
        option: &'static str,
        /// Its value.
        value: u64,
        /// What is allowed.
        rule: &'static str,
    },
    /// The wait took longer than asked. The append goes on; wait again or poll the log.
    #[error("not durable yet after {0:?}; the append goes on")]
    Timeout(std::time::Duration),
    /// The handle was closed.
    #[error("the log is closed")]
    Closed,
    /// The storage failed, outside of a write.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The result of the crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;
