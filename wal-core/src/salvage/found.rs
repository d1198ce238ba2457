//! What salvage yields: records, and what is not there or not intact.

use std::ops::Range;

use crate::{Lsn, Position, Record};

/// What [`Salvage`](crate::Salvage) yields.
///
/// ```
/// # use wal_core::{Options, Salvaged, Wal, sim::SimStorage};
/// # let disk = SimStorage::new(1);
/// # let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// # wal.commit("a")?;
/// # wal.close()?;
/// for found in Wal::salvage(disk)? {
///     match found {
///         Salvaged::Record(record) => println!("{}: {:?}", record.lsn, record.payload),
///         Salvaged::Gap(gap) => eprintln!("{gap}"),
///     }
/// }
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Salvaged {
    /// An intact record.
    Record(Record),
    /// Damage.
    Gap(Gap),
}

/// Something that should be in the log and is not, or not intact.
///
/// ```
/// # use wal_core::{Lsn, Options, Salvaged, SegmentId, Wal, sim::SimStorage};
/// # let disk = SimStorage::new(1);
/// # let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// wal.commit(["first", "second", "third"])?;
/// wal.close()?;
/// disk.damage(SegmentId::new(1), 4096 + 80 + 3 * 8 + 7, 1); // the second record
/// let gaps: Vec<_> = Wal::salvage(disk)?
///     .filter_map(|found| match found {
///         Salvaged::Gap(gap) => Some(gap),
///         Salvaged::Record(_) => None,
///     })
///     .collect();
/// assert_eq!(gaps.len(), 1);
/// assert_eq!(gaps[0].lost, Lsn::new(1)..Lsn::new(2));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Gap {
    /// The records that are not there, as far as is known; empty if the damage cost none.
    pub lost: Range<Lsn>,
    /// Where it was met; the segment is the one that the storage has the bytes under.
    pub at: Position,
    /// How many bytes there are damaged or missing, as far as is known.
    pub bytes: u64,
    /// What is wrong.
    pub reason: String,
    /// Nothing intact attests that what is missing was ever durable: a write that a crash cut
    /// short looks like this.
    pub unconfirmed: bool,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, end) = (self.lost.start, self.lost.end);
        match (start == end, self.unconfirmed) {
            (true, _) => write!(f, "no record is lost by damage")?,
            (_, true) => write!(f, "records {start}..{end} were not completely stored")?,
            (_, false) => write!(f, "records {start}..{end} are lost")?,
        }
        write!(f, " at {}, {} bytes: {}", self.at, self.bytes, self.reason)
    }
}
