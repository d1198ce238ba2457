//! What an open stores anew, before anyone relies on it.

use std::sync::Arc;

use super::Opened;
use crate::block::block_on;
use crate::committer::{Cut, Write};
use crate::driver::now_micros;
use crate::frame::{Frame, Kind};
use crate::group::Group;
use crate::layout::Layout;
use crate::planted::{planted, planted_or};
use crate::scan::{Found, Walker};
use crate::segment::SegmentHeader;
use crate::segments::{Known, SegmentInfo};
use crate::storage::Sync;
use crate::{Error, Lsn, Result, Storage, StorageError};

impl Opened {
    /// Copies the frames from the cut to `end` into a new segment, and syncs it (G5).
    pub(super) fn copy(
        &mut self,
        storage: &Arc<dyn Storage>,
        layout: &Layout,
        cut: Cut,
        end: Lsn,
    ) -> Result<()> {
        if cut.at.lsn >= end {
            return Ok(());
        }
        let mut reached = None;
        for segment in &layout.since(storage, cut.at.lsn)? {
            let header = &segment.header;
            if header.segment < cut.at.segment {
                continue;
            }
            let behind = reached.is_some_and(|reached| reached != (header.first, header.chain));
            if behind && !planted("copy-goes-over-a-hole") {
                break; // what stands behind a hole is not part of the log
            }
            let mut walker = Walker::new(Arc::clone(storage), segment.header, segment.end);
            if segment.header.segment == cut.at.segment {
                walker = walker.at(cut.at.offset, cut.at.lsn, cut.chain);
            }
            while let Found::Frame(frame) = walker.next()? {
                if frame.header.records > 0 {
                    self.copy_frame(storage, &frame)?;
                }
            }
            reached = Some((walker.position().lsn, walker.chain()));
        }
        if !planted("copy-not-synced") {
            block_on(storage.sync())?;
        }
        self.stats.syncs += 1;
        self.committer.synced();
        self.seal(storage)?;
        // So that the next open has nothing to copy, whatever happens to this process: on a
        // full disk there would be no room for it.
        let sync = planted_or("copy-not-synced", Sync::No, Sync::Yes);
        let mark = self.committer.mark(Kind::Mark, sync, now_micros());
        self.write(storage, mark)
    }

    /// Stores anew that the log was truncated, and the named holds, before anyone relies on it
    /// (G5). On a full disk holds stay where they are: if they are not durable there, a power
    /// loss brings back the ones before.
    pub(super) fn note_again(&mut self, storage: &Arc<dyn Storage>, truncates: bool) -> Result<()> {
        let mark = self.committer.mark(Kind::Holds, Sync::Yes, now_micros());
        let kept = mark.clone();
        match self.write(storage, mark) {
            Err(Error::Storage(StorageError::Full(_))) if !truncates => {
                self.segments.pop();
                self.committer.revert(&kept);
                Ok(())
            }
            written => written.and_then(|()| self.seal(storage)),
        }
    }

    /// G4: the segment that the log goes on from says so, before anyone sees what follows.
    fn seal(&mut self, storage: &Arc<dyn Storage>) -> Result<()> {
        let Some(seal) = self.committer.seal(now_micros()) else {
            return Ok(());
        };
        let kept = seal.clone();
        match self.write(storage, seal) {
            Err(Error::Storage(StorageError::Full(_))) => {
                self.committer.revert(&kept);
                self.committer.skip_seal();
                Ok(())
            }
            written => written,
        }
    }

    fn copy_frame(&mut self, storage: &Arc<dyn Storage>, frame: &Frame) -> Result<()> {
        let (lengths, payload) = frame.parts();
        let group = Group::of([payload].into(), lengths.collect(), false);
        let write = self.committer.records(group, false, frame.header.time);
        // The first append is synced, so that a header is never missing where frames stand.
        self.write(storage, write)
    }

    fn write(&mut self, storage: &Arc<dyn Storage>, write: Write) -> Result<()> {
        if let Some(begun) = write.begins {
            let header = begun.header;
            let mut known = Known::read(SegmentInfo { header, end: 0 });
            known.index = Some(begun.index);
            self.segments.push(known);
        }
        // A seal ends no segment: the log goes on from the place before it.
        let newest = self.segments.newest_mut();
        if write.kind != Kind::Seal
            && let Some(info) = newest.and_then(|known| known.info.as_mut())
        {
            info.end = write.end_offset;
        }
        self.stats.frames += 1;
        self.stats.stored_bytes += write.stored_bytes;
        self.stats.syncs += u64::from(write.sync == Sync::Yes);
        block_on(storage.append(write.at, write.bytes, write.sync))?;
        self.committer.stored(write.id);
        Ok(())
    }
}

/// Where the seal of the segment goes that holds `cut`: behind all that lies there. `None` if it
/// was sealed when the log went on from it before.
pub(super) fn place_of_seal(
    storage: &Arc<dyn Storage>,
    segment: &SegmentHeader,
    cut: Cut,
) -> Result<Option<Cut>> {
    let end = block_on(storage.length(segment.segment))?;
    let mut walker = Walker::new(Arc::clone(storage), *segment, end);
    walker = walker.at(cut.at.offset, cut.at.lsn, cut.chain);
    while let Found::Frame(frame) = walker.next()? {
        if frame.header.kind == Kind::Seal {
            return Ok(None);
        }
    }
    let mut place = Cut {
        at: walker.position(),
        chain: walker.chain(),
    };
    if walker.left() > 0 {
        if walker.probe_beyond()?.sealed {
            return Ok(None);
        }
        // Bytes may lie there that no crash has left whole: they are not written over.
        place.at.offset = end.next_multiple_of(u64::from(segment.align.max(1)));
    }
    Ok(Some(place))
}
