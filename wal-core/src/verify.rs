//! Checking all of a log: every header, frame, record and link between them.

use std::sync::Arc;

use crate::map::Map;
use crate::salvage::{Part, Salvage};
use crate::{Error, Gap, ReadOnly, Result, Salvaged, SegmentId, Wal};

/// What [`Wal::verify`] found.
///
/// ```
/// # use wal_core::{Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// wal.commit(["a", "bc"])?;
/// let found = wal.verify()?;
/// assert!(found.damage.is_empty());
/// assert_eq!((found.segments, found.frames, found.records, found.bytes), (1, 1, 2, 3));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Verified {
    /// Everything that is damaged or missing, in LSN order; empty if the log is sound.
    pub damage: Vec<Gap>,
    /// Segments gone through.
    pub segments: u64,
    /// Intact frame headers, those of frames without records included.
    pub frames: u64,
    /// Intact records.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
}

impl Wal {
    /// Reads all that is durable and not released, and reports all damage there is. Opening
    /// checks names and the log's end only. The log stays in use, and keeps what is being
    /// verified from release.
    ///
    /// # Errors
    /// [`Error::Storage`] if the storage cannot list its segments. Damage is no error of this
    /// call: it is in the report.
    pub fn verify(&self) -> Result<Verified> {
        let mut reader = self.reader(self.oldest());
        while let Err(Error::Released { oldest, .. }) = reader {
            reader = self.reader(oldest); // released in between
        }
        let reader = reader?; // holds what is verified
        verify(&**reader.segments(), reader.position())
    }
}

impl ReadOnly {
    /// Reads all that this view shows, and reports all damage there is. What the writer
    /// releases meanwhile may show as damage: [`ReadOnly::oldest`] tells after a
    /// [`ReadOnly::refresh`].
    ///
    /// # Errors
    /// [`Error::Storage`] if the storage cannot list its segments.
    pub fn verify(&self) -> Result<Verified> {
        let map = self.map();
        let mut found = verify(&*map, map.oldest())?;
        if !found.damage.is_empty() {
            self.refresh()?;
            let oldest = self.oldest();
            found
                .damage
                .retain(|gap| gap.lost.end > oldest || gap.lost.start >= oldest);
        }
        Ok(found)
    }
}

fn verify(map: &dyn Map, oldest: crate::Lsn) -> Result<Verified> {
    let durable = map.durable();
    let newest = map.segment_of(durable)?;
    let Some(newest) = newest.map(|newest| newest.header.segment) else {
        return Ok(Verified::default());
    };
    let part = Part {
        oldest,
        durable,
        newest: newest.max(SegmentId::new(1)),
    };
    let mut salvage = Salvage::new(&Arc::clone(map.storage()), Some(part))?;
    let mut found = Verified::default();
    for met in &mut salvage {
        if let Salvaged::Gap(gap) = met
            && !gap.unconfirmed
        {
            found.damage.push(gap);
        }
    }
    let tally = salvage.tally;
    (found.segments, found.frames) = (tally.segments, tally.frames);
    (found.records, found.bytes) = (tally.records, tally.bytes);
    Ok(found)
}
