//! The last frame of a segment, found from the segment's end.

use std::sync::Arc;

use bytes::Bytes;

use crate::attachment::{self, Attachment, TRAILER_BYTES};
use crate::block::block_on;
use crate::frame::{Frame, FrameHeader, Kind};
use crate::segment::SegmentHeader;
use crate::{Storage, StorageError};

/// Bytes that are read at first: most footers are shorter.
const FIRST_READ: u64 = 64 << 10;

/// A frame with an attachment, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Footer {
    pub(crate) header: FrameHeader,
    pub(crate) attachment: Attachment,
    /// The offset behind it.
    pub(crate) end: u64,
}

/// The footer that ends at `end`, if one stands there. Whatever else stands there is none.
pub(crate) fn ending_at(
    storage: &Arc<dyn Storage>,
    segment: &SegmentHeader,
    end: u64,
) -> Result<Option<Footer>, StorageError> {
    let start = segment.stored_bytes();
    let trailer = TRAILER_BYTES as u64;
    if end < start + trailer {
        return Ok(None);
    }
    let seed = segment.frame_seed();
    let from = end.saturating_sub(FIRST_READ).max(start);
    let tail = read(storage, segment, from, end)?;
    let Some((_, last)) = tail.split_last_chunk::<TRAILER_BYTES>() else {
        return Ok(None);
    };
    let offset = attachment::frame_before(last, seed);
    let Some(offset) = offset.filter(|offset| (start..end - trailer).contains(offset)) else {
        return Ok(None);
    };
    let bytes = match offset.checked_sub(from).map(usize::try_from) {
        Some(Ok(skip)) if skip <= tail.len() => tail.slice(skip..),
        _ => read(storage, segment, offset, end)?,
    };
    Ok(decode(&bytes, seed, offset, end))
}

/// The footer that starts at `offset`; nothing of the segment stands behind `limit`.
pub(crate) fn starting_at(
    storage: &Arc<dyn Storage>,
    segment: &SegmentHeader,
    offset: u64,
    limit: u64,
) -> Result<Option<Footer>, StorageError> {
    let bytes = read(
        storage,
        segment,
        offset,
        limit.min(offset.saturating_add(FIRST_READ)),
    )?;
    let seed = segment.frame_seed();
    let Ok(header) = FrameHeader::decode(&bytes, seed, offset) else {
        return Ok(None);
    };
    let Some(end) = header.bytes().map(|bytes| offset.saturating_add(bytes)) else {
        return Ok(None);
    };
    if header.kind == Kind::Records || end > limit {
        return Ok(None);
    }
    let whole = end - offset <= bytes.len() as u64;
    let bytes = if whole {
        bytes
    } else {
        read(storage, segment, offset, end)?
    };
    Ok(decode(&bytes, seed, offset, end))
}

fn read(
    storage: &Arc<dyn Storage>,
    segment: &SegmentHeader,
    from: u64,
    to: u64,
) -> Result<Bytes, StorageError> {
    block_on(storage.read(segment.segment, from..to))
}

fn decode(bytes: &Bytes, seed: u32, offset: u64, end: u64) -> Option<Footer> {
    let header = FrameHeader::decode(bytes, seed, offset).ok()?;
    let length = usize::try_from(header.bytes()?).ok()?;
    let frame = (length <= bytes.len()).then(|| bytes.slice(..length))?;
    let frame = Frame::verify(header, &frame).ok()?;
    let attachment = Attachment::decode(frame.attachment()?)?;
    Some(Footer {
        header,
        attachment,
        end,
    })
}
