//! The index of a segment, from wherever it is to be had.

use std::sync::Arc;

use crate::block::block_on;
use crate::footer;
use crate::frame::Kind;
use crate::index::{Entry, Index};
use crate::scan::Walker;
use crate::segments::SegmentInfo;
use crate::shared::Shared;
use crate::sync::Mutex;
use crate::{Lsn, Result};

/// The index of a segment: kept since it was written, or read from its footer, or made anew
/// where there is none.
pub(super) fn index_of(
    shared: &Shared,
    segment: &SegmentInfo,
    limit: u64,
) -> Result<Arc<Mutex<Index>>> {
    let id = segment.header.segment;
    let kept = {
        let state = shared.state.lock();
        state.segments.get(id).and_then(|known| known.index.clone())
    };
    if let Some(index) = kept {
        return Ok(index);
    }
    let storage = &shared.storage;
    // Behind what the log has of it, as a seal; or at the end of that, as a close.
    let end = block_on(storage.length(id))?;
    let footer = match footer::starting_at(storage, &segment.header, limit, end)? {
        Some(footer) => Some(footer),
        None => footer::ending_at(storage, &segment.header, limit)?,
    };
    let index = match footer.and_then(|footer| footer.attachment.index) {
        Some(index) => index,
        None => index_anew(shared, segment, limit, Lsn::MAX)?.1,
    };
    let index = Arc::new(Mutex::new(index));
    shared.state.lock().segments.remember(id, &index);
    Ok(index)
}

/// Where the last frame ends that ends at or below `until`, and the index of the frames up to it.
pub(crate) fn index_anew(
    shared: &Shared,
    segment: &SegmentInfo,
    limit: u64,
    until: Lsn,
) -> Result<(u64, Index)> {
    let mut walker = Walker::new(Arc::clone(&shared.storage), segment.header, limit);
    let mut index = Index::default();
    let mut end = walker.position().offset;
    while let Some((offset, header)) = walker.next_header()? {
        if header.end() > until {
            break;
        }
        end = walker.position().offset;
        if header.kind == Kind::Records {
            let entry = Entry {
                lsn: header.first,
                offset,
                time: header.time,
            };
            index.push(entry, header.bytes().unwrap_or(0));
        }
    }
    Ok((end, index))
}
