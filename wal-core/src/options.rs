//! What a caller may choose, and the bounds of each choice.

use std::time::Duration;

use crate::{Error, Limits, Receipt, Result};

/// What an append does when the queue is full (G8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnFull {
    /// Wait until there is room.
    #[default]
    Wait,
    /// Fail with [`Error::Busy`]; nothing is taken.
    Fail,
}

/// What an append asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// Its commit is ready when the medium has confirmed it: survives kill -9,
    /// a crash of the operating system and power loss (G1).
    #[default]
    Durable,
    /// Its commit is ready when the operating system (or store) has accepted it:
    /// survives kill -9, may be lost with the machine. It becomes durable with the
    /// next durable append, [`Wal::sync`](crate::Wal::sync) or close.
    Accepted,
}

/// How the payload of a frame is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// As it is.
    #[default]
    None,
    /// As an LZ4 block, where that saves space. A record of a compressed frame cannot be read
    /// without the others of its frame. Every log can be read whatever is chosen here.
    Lz4,
}

/// How a log behaves. The defaults suit local files.
///
/// ```
/// use std::time::Duration;
/// use wal_core::Options;
/// let options = Options { linger: Duration::from_millis(10), ..Options::default() };
/// assert_eq!(options.segment_bytes, 64 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment is closed before it would grow beyond this: 64 KiB to 1 TiB, default 64 MiB.
    /// Files take the space of two segments before the first record (G7).
    pub segment_bytes: u64,
    /// Appends are grouped into frames of up to this many payload bytes: 4 KiB to
    /// 64 MiB, default 1 MiB. A single larger append gets a frame of its own.
    pub frame_bytes: u64,
    /// The largest single append, in payload bytes: up to half of `segment_bytes`, default 16 MiB.
    pub append_bytes: u64,
    /// Bytes that may wait to be written, default 64 MiB; at least `append_bytes`. Where the storage takes
    /// one frame at a time, an *accepted* append behind two frames (at least 2 MiB) waits for up to 4 ms
    /// until the next one is begun: so a writer that keeps up finds what it writes in the
    /// processor's cache, and the rest of the queue is for when it does not. Not with `OnFull::Fail`.
    pub queue_bytes: u64,
    /// What an append does when they do.
    pub on_full: OnFull,
    /// How long a durable append may wait for company before it is written: 0 (default)
    /// to 10 s. A longer wait means fewer syncs and later acknowledgements.
    pub linger: Duration,
    /// After this long without an append the log notes how far it is durable, so that
    /// the next open knows: default 100 ms; `None` for never.
    pub watermark_delay: Option<Duration>,
    /// The most space that records may take if nobody releases them: the oldest segments
    /// beyond it are released, as far as they are durable and no hold or reader protects them.
    /// Each counts as `segment_bytes`; at least two stay. `None` (default) for no cap.
    pub retain_bytes: Option<u64>,
    /// How frames are stored.
    pub compression: Compression,
    /// The newest receipt that the caller has kept. If the log does not hold what it proves,
    /// opening fails (G4), even if the whole log is gone. (That it is of another history of the
    /// same log shows only after recovery has done its work.)
    pub receipt: Option<Receipt>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            frame_bytes: 1 << 20,
            append_bytes: 16 << 20,
            queue_bytes: 64 << 20,
            on_full: OnFull::default(),
            linger: Duration::ZERO,
            watermark_delay: Some(Duration::from_millis(100)),
            retain_bytes: None,
            compression: Compression::default(),
            receipt: None,
        }
    }
}

impl Options {
    /// Checks every option against its bounds and against what the storage can do.
    pub(crate) fn validate(&self, limits: &Limits) -> Result<()> {
        let bounded = |option, value, low: u64, high: u64, rule| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(Error::Option {
                    option,
                    value,
                    rule,
                })
            }
        };
        bounded(
            "segment_bytes",
            self.segment_bytes,
            64 << 10,
            1 << 40,
            "64 KiB to 1 TiB",
        )?;
        bounded(
            "frame_bytes",
            self.frame_bytes,
            4 << 10,
            64 << 20,
            "4 KiB to 64 MiB",
        )?;
        let largest = (self.segment_bytes / 2)
            .min(limits.append_bytes / 2)
            .min(1 << 30);
        bounded(
            "append_bytes",
            self.append_bytes,
            1,
            largest,
            "1 to half of `segment_bytes`, at most 1 GiB and half of what the storage takes at once",
        )?;
        bounded(
            "queue_bytes",
            self.queue_bytes,
            self.append_bytes,
            1 << 40,
            "`append_bytes` to 1 TiB",
        )?;
        let linger = u64::try_from(self.linger.as_millis()).unwrap_or(u64::MAX);
        bounded("linger", linger, 0, 10_000, "0 to 10,000 ms")
    }
}
