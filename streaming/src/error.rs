//! Errors of the stream: what, where, and what to do.

use std::path::PathBuf;

use crate::OffsetRange;

/// What went wrong: one line that names the thing, and what to do where that is known.
///
/// ```
/// use wal_streaming::{Error, FileSource};
/// let refused = FileSource::open(vec!["no/such/file".into()]).unwrap_err();
/// assert!(matches!(refused, Error::File { .. }));
/// assert!(refused.to_string().starts_with("no/such/file: "));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The log or the checkpoint's log failed.
    #[error(transparent)]
    Log(#[from] wal_core::Error),
    /// The source failed or cannot be reached.
    #[error("source {source_name}: {reason}")]
    Source {
        /// Which.
        source_name: String,
        /// What it said, and what to do.
        reason: String,
    },
    /// The source no longer has records that were not processed yet (S6).
    #[error("{range} is gone from the source: {reason}")]
    Missing {
        /// What is gone.
        range: OffsetRange,
        /// Why, as far as is known.
        reason: String,
    },
    /// The sink failed.
    #[error("sink {place}: {reason}")]
    Sink {
        /// Which.
        place: String,
        /// What it said.
        reason: String,
    },
    /// A file or directory could not be used.
    #[error("{}: {cause}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The checkpoint belongs to another pipeline.
    #[error(
        "the checkpoint belongs to pipeline `{stored}`, this is `{found}`; \
         use another checkpoint directory, or adopt this one explicitly"
    )]
    Identity {
        /// What the checkpoint says.
        stored: String,
        /// What this pipeline is.
        found: String,
    },
    /// A record of the log or checkpoint cannot be understood.
    #[error("LSN {lsn}: {reason}")]
    Format {
        /// Which record.
        lsn: wal_core::Lsn,
        /// What is wrong with it.
        reason: String,
    },
    /// A caller's setting is out of range.
    #[error("setting `{setting}`: {reason}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What is allowed.
        reason: String,
    },
}

/// The result of the crate's calls.
///
/// ```
/// fn nothing() -> wal_streaming::Result<()> {
///     Ok(())
/// }
/// # nothing().unwrap();
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;
