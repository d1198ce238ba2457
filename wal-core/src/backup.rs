//! A consistent copy of a log that is in use.
//!
//! Segments are copied as they lie there, so records keep their LSNs and receipts of the log
//! hold for the copy. The copy ends at what was durable when it began, and is closed: it opens
//! like a log that was closed at that moment.
//!
//! A copy that is opened for writing is a fork: two logs then have one identity and different
//! histories. [`Wal::check`] of a receipt tells them apart.

use std::sync::Arc;

use bytes::Bytes;

use crate::attachment::{self, Place};
use crate::block::block_on;
use crate::driver::now_micros;
use crate::frame::{FrameBuilder, Kind, Note};
use crate::index::Index;
use crate::lookup::index_anew;
use crate::map::Map;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::storage::Sync;
use crate::{Error, Lsn, Position, Receipt, Result, Storage, StorageError, Wal};

/// Bytes that are copied at a time.
const CHUNK: u64 = 1 << 20;

impl Wal {
    /// Copies all that is durable and not released into `target`, which must be empty; appends
    /// go on meanwhile, and nothing of what is copied is deleted. Returns the receipt of the
    /// copy's end. When it returns, the copy is durable.
    ///
    /// ```
    /// # use wal_core::{Options, Wal, sim::SimStorage};
    /// let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
    /// wal.commit(["a", "b"])?;
    /// let target = SimStorage::new(2);
    /// let receipt = wal.backup(target.clone())?;
    /// wal.commit("later")?;
    /// let (copy, recovery) = Wal::open(target, Options::default())?;
    /// assert_eq!(recovery.end.get(), 2);
    /// assert!(copy.check(&receipt)?);
    /// # Ok::<(), wal_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Lost`] if what is to be copied is damaged at a place that is looked at (verify
    /// the copy to be sure); [`Error::Storage`] if reading fails, or writing to `target`, or if
    /// that is not empty. An unfinished copy does not open as a closed log; remove it.
    pub fn backup(&self, target: impl Storage) -> Result<Receipt> {
        let target: Arc<dyn Storage> = Arc::new(target);
        let shared = &self.handle.shared;
        let hold = self.hold(self.oldest())?;
        let receipt = self.receipt();
        let _role = block_on(target.acquire())?;
        let copied = copy(shared, &target, hold.from(), &receipt);
        let resigned = block_on(target.resign());
        copied?;
        resigned?;
        Ok(receipt)
    }
}

fn copy(shared: &Shared, target: &Arc<dyn Storage>, from: Lsn, receipt: &Receipt) -> Result<()> {
    if let Some(found) = block_on(target.list())?.first() {
        let taken = format!("the target of a backup holds segment {} already", found.id);
        return Err(StorageError::Conflict(taken).into());
    }
    let ids: Vec<_> = {
        let state = shared.state.lock();
        state.segments.since(from).map(|known| known.id).collect()
    };
    let mut newest = None;
    for id in ids {
        let (info, _) = shared.segment_and_next(id)?;
        let Some(info) = info else { continue };
        if newest.is_some() && info.header.first > receipt.lsn {
            break;
        }
        let limit = shared.limit_of(id)?;
        let (end, index) = index_anew(shared, &info, limit, receipt.lsn)?;
        copy_segment(shared, target, &info, end)?;
        newest = Some((info, end, index));
    }
    if let Some((info, end, index)) = newest {
        close(shared, target, &info, end, &index, receipt)?;
    }
    block_on(target.sync())?;
    Ok(())
}

fn copy_segment(
    shared: &Shared,
    target: &Arc<dyn Storage>,
    info: &SegmentInfo,
    end: u64,
) -> Result<()> {
    let (id, lsn) = (info.header.segment, info.header.first);
    let mut offset = 0;
    while offset < end {
        let upto = end.min(offset + CHUNK);
        let bytes = block_on(shared.storage.read(id, offset..upto))?;
        let at = Position {
            segment: id,
            offset,
            lsn,
        };
        if bytes.len() as u64 != upto - offset {
            return Err(Error::Lost {
                lost: lsn..lsn.plus(1),
                at,
                reason: "the segment is shorter than the log".into(),
            });
        }
        block_on(target.append(at, vec![bytes], Sync::No))?;
        offset = upto;
    }
    Ok(())
}

/// Ends the copy as if its writer had closed it.
fn close(
    shared: &Shared,
    target: &Arc<dyn Storage>,
    info: &SegmentInfo,
    offset: u64,
    index: &Index,
    receipt: &Receipt,
) -> Result<()> {
    let header = &info.header;
    let place = Place {
        seed: header.frame_seed(),
        offset,
        align: header.align,
    };
    let (holds, released) = {
        let state = shared.state.lock();
        (state.retention.named().clone(), state.retention.floor())
    };
    let footer = attachment::with_footer(&holds, index, place);
    let note = Note {
        kind: Kind::Close,
        durable: receipt.lsn,
        released: released.min(receipt.lsn),
        time: now_micros(),
        segment: header.segment,
        begins: false,
    };
    let frame = FrameBuilder::with_attachment(receipt.lsn, receipt.chain, footer);
    let mut bytes = frame.finish(note, place.seed, offset);
    let length: u64 = bytes.iter().map(|part| part.len() as u64).sum();
    let padding = length.next_multiple_of(u64::from(header.align)) - length;
    bytes.push(Bytes::from(vec![0; usize::try_from(padding).unwrap_or(0)]));
    let at = Position {
        segment: header.segment,
        offset,
        lsn: receipt.lsn,
    };
    block_on(target.append(at, bytes, Sync::Yes))?;
    Ok(())
}
