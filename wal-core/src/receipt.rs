//! Proof, kept elsewhere, of how far a log was durable.

use crate::codec::{Fields, join};
use crate::{Error, Identity, Lsn, Position, Result};

/// What a log was at one moment: its identity, an LSN that was durable, and the chain value
/// there, which depends on every record below.
///
/// A caller who keeps the newest receipt outside of the log (in a database, with an
/// acknowledgement) can tell later whether the log still holds all of it, even if the whole
/// log was lost or an older copy was restored: see [`Options::receipt`](crate::Options::receipt)
/// and [`Wal::check`](crate::Wal::check). The chain finds accidents, it is no signature.
///
/// ```
/// use wal_core::{Options, Receipt, Wal, sim::SimStorage};
/// let disk = SimStorage::new(1);
/// let (wal, _) = Wal::open(disk, Options::default())?;
/// wal.commit(["a", "b"])?;
/// let kept = wal.receipt().to_bytes();
/// let receipt = Receipt::from_bytes(&kept);
/// assert_eq!(receipt.lsn().get(), 2);
/// // The log was lost; nobody notices that an empty one took its place, except by the receipt:
/// let options = Options { receipt: Some(receipt), ..Options::default() };
/// assert!(Wal::open(SimStorage::new(2), options).is_err());
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Receipt {
    pub(crate) log: Identity,
    pub(crate) lsn: Lsn,
    pub(crate) chain: u64,
}

impl Receipt {
    /// The log that it is of.
    #[must_use]
    pub fn log(&self) -> Identity {
        self.log
    }

    /// Every record below was durable.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// As 32 bytes, little-endian: log, LSN, chain value.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        join(&[
            &self.log.get().to_le_bytes(),
            &self.lsn.get().to_le_bytes(),
            &self.chain.to_le_bytes(),
        ])
    }

    /// What [`Receipt::to_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut fields = Fields(bytes);
        Receipt {
            log: Identity::new(fields.u128().unwrap_or_default()),
            lsn: Lsn::new(fields.u64().unwrap_or_default()),
            chain: fields.u64().unwrap_or_default(),
        }
    }

    /// Whether it is of this log, and the log reaches as far.
    pub(crate) fn check_log(&self, log: Option<Identity>, end: Lsn) -> Result<()> {
        let lost = |lost: std::ops::Range<Lsn>, reason: String| {
            let lsn = lost.start;
            Err(Error::Lost {
                lost,
                at: Position {
                    lsn,
                    ..Position::default()
                },
                reason,
            })
        };
        match log {
            // Of an empty log: nothing was durable, not even its identity.
            _ if self.lsn == Lsn::ZERO => Ok(()),
            Some(log) if log != self.log => lost(
                Lsn::ZERO..self.lsn,
                format!("the receipt is of log {}, but this is log {log}", self.log),
            ),
            _ if end < self.lsn => lost(
                end..self.lsn,
                "a receipt proves that these records were durable: the log is not all here, or an \
                 older copy of it, or was truncated since"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}
