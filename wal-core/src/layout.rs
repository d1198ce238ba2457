//! The segments of a log: which there are, which count, and how they link.
//!
//! The newest segment with a valid header (and, if it is recovery's copy, with all
//! that the copy must hold) is the log's end. Each header names the segment that it
//! continues, so the log is what can be walked from there to the oldest segment.
//! A segment that is not on that walk never held anything acknowledged: the first
//! append to it was cut short, or a later open has replaced it. It is a *leftover*.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::block::block_on;
use crate::frame;
use crate::scan::{Found, Walker};
use crate::segment::{HEADER_BYTES, NotAHeader, SegmentHeader, VERSION};
use crate::shared::SegmentInfo;
use crate::{Epoch, Error, Identity, Lsn, Position, Result, SegmentId, Storage};

/// The segments of a log, oldest first, each with the offset at which it ends
/// (for the newest: an upper bound).
#[derive(Debug)]
pub(crate) struct Layout {
    segments: VecDeque<SegmentInfo>,
    leftovers: Vec<SegmentId>,
    highest: SegmentId,
}

/// Reads and links the headers.
pub(crate) fn read(storage: &Arc<dyn Storage>) -> Result<Layout> {
    let listed = block_on(storage.list())?;
    let mut found = Vec::with_capacity(listed.len());
    for meta in &listed {
        let bytes = block_on(storage.length(meta.id))?;
        let meta = Listed { id: meta.id, bytes };
        found.push((meta, read_header(storage, meta)?));
    }
    let mut layout = Layout {
        segments: VecDeque::new(),
        leftovers: Vec::new(),
        highest: listed.last().map_or(SegmentId::default(), |last| last.id),
    };
    layout.link(storage, &found)?;
    Ok(layout)
}

/// A segment that the storage names, and an upper bound of its length.
#[derive(Clone, Copy)]
struct Listed {
    id: SegmentId,
    bytes: u64,
}

type Header = std::result::Result<SegmentHeader, &'static str>;

fn read_header(storage: &Arc<dyn Storage>, meta: Listed) -> Result<Header> {
    let bytes = block_on(storage.read(meta.id, 0..HEADER_BYTES as u64))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.segment != meta.id => {
            Ok(Err("the segment header is of another segment"))
        }
        Ok(header) => Ok(Ok(header)),
        Err(NotAHeader::Invalid(reason)) => Ok(Err(reason)),
        Err(NotAHeader::Newer(found)) => Err(Error::NewerFormat {
            at: start_of(meta.id, Lsn::ZERO),
            found,
            known: VERSION,
        }),
    }
}

fn start_of(segment: SegmentId, lsn: Lsn) -> Position {
    Position {
        segment,
        offset: 0,
        lsn,
    }
}

impl Layout {
    fn link(&mut self, storage: &Arc<dyn Storage>, found: &[(Listed, Header)]) -> Result<()> {
        // What the next newer segment on the walk says: its predecessor and where that ended.
        let mut wanted: Option<SegmentHeader> = None;
        for (meta, header) in found.iter().rev() {
            match wanted {
                None => match header {
                    Ok(header) if is_complete(storage, header, meta.bytes)? => {
                        self.segments.push_front(info(header, meta.bytes));
                        wanted = Some(*header);
                    }
                    Ok(_) => self.leftovers.push(meta.id),
                    Err(reason) => {
                        refuse_if_acknowledged(storage, *meta, reason)?;
                        self.leftovers.push(meta.id);
                    }
                },
                Some(next) if meta.id > next.previous => {
                    if let Ok(header) = header {
                        refuse_if_foreign(header, &next)?;
                    }
                    self.leftovers.push(meta.id);
                }
                Some(next) if meta.id == next.previous => {
                    let header = header.map_err(|reason| lost_before(&next, reason))?;
                    check_link(&header, &next)?;
                    self.segments
                        .push_front(info(&header, next.previous_end.min(meta.bytes)));
                    wanted = Some(header);
                }
                Some(next) => return Err(lost_before(&next, "the segment is missing")),
            }
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> Option<Identity> {
        self.segments.front().map(|segment| segment.header.log)
    }

    /// The epoch of the newest segment's writer.
    pub(crate) fn epoch(&self) -> Epoch {
        let newest = self.segments.back();
        newest.map_or(Epoch::default(), |segment| segment.header.epoch)
    }

    pub(crate) fn len(&self) -> u64 {
        self.segments.len() as u64
    }

    pub(crate) fn first(&self) -> Lsn {
        self.segments
            .front()
            .map_or(Lsn::ZERO, |segment| segment.header.first)
    }

    /// W as the newest header attests it.
    pub(crate) fn durable(&self) -> Lsn {
        self.segments
            .back()
            .map_or(Lsn::ZERO, |segment| segment.header.durable)
    }

    /// The released LSN as the newest header attests it.
    pub(crate) fn released(&self) -> Lsn {
        self.segments
            .back()
            .map_or(Lsn::ZERO, |segment| segment.header.released)
    }

    pub(crate) fn next_segment(&self) -> SegmentId {
        self.highest.next()
    }

    pub(crate) fn is_newest(&self, segment: SegmentId) -> bool {
        self.segments
            .back()
            .is_some_and(|newest| newest.header.segment == segment)
    }

    /// The segments that may hold records at or above the newest header's W.
    pub(crate) fn since_watermark(&self) -> impl Iterator<Item = &SegmentInfo> {
        let durable = self.durable();
        let after = self
            .segments
            .partition_point(|segment| segment.header.first <= durable);
        self.segments.iter().skip(after.saturating_sub(1))
    }

    /// The segments from this one on.
    pub(crate) fn segments_from(&self, from: SegmentId) -> impl Iterator<Item = &SegmentInfo> {
        self.segments
            .iter()
            .skip_while(move |segment| segment.header.segment < from)
    }

    /// The segments that stay part of the log if it goes on from `cut`.
    pub(crate) fn readable_until(&self, cut: Option<Position>) -> VecDeque<SegmentInfo> {
        let Some(cut) = cut else {
            return VecDeque::new();
        };
        let mut kept: VecDeque<_> = self
            .segments
            .iter()
            .filter(|segment| segment.header.segment <= cut.segment)
            .copied()
            .collect();
        if let Some(last) = kept.back_mut() {
            last.end = cut.offset;
        }
        kept
    }

    /// The same place of the log, but at the end of the segment before where `cut` is the
    /// start of a segment: what is copied again and again, because each time the process
    /// was killed soon after, must not leave an empty segment each time.
    pub(crate) fn without_empty_segments(&self, mut cut: Position) -> Position {
        for segment in self.segments.iter().rev() {
            let header = &segment.header;
            let empty = cut.segment == header.segment && cut.offset == header.stored_bytes();
            let has_previous = self
                .segments
                .iter()
                .any(|it| it.header.segment == header.previous);
            if empty && has_previous {
                cut.segment = header.previous;
                cut.offset = header.previous_end;
            }
        }
        cut
    }

    /// Segments that hold nothing of the log any more, if it goes on after `last`.
    pub(crate) fn leftovers(&self, last: Option<SegmentId>) -> Vec<SegmentId> {
        let superseded = self
            .segments
            .iter()
            .map(|segment| segment.header.segment)
            .filter(|id| last.is_some_and(|last| *id > last));
        self.leftovers.iter().copied().chain(superseded).collect()
    }

    /// G4: the oldest segment may begin after what was released, never after more.
    pub(crate) fn check_head(&self, released: Lsn) -> Result<()> {
        match self.segments.front() {
            Some(head) if head.header.first > released => Err(Error::Lost {
                lost: released..head.header.first,
                at: start_of(head.header.segment, head.header.first),
                reason: format!(
                    "the log begins here, but only what lies below LSN {released} was released: \
                     older segments are missing"
                ),
            }),
            _ => Ok(()),
        }
    }
}

fn info(header: &SegmentHeader, end: u64) -> SegmentInfo {
    SegmentInfo {
        header: *header,
        end,
    }
}

/// Whether recovery's copy, if the segment begins with one, was finished.
fn is_complete(storage: &Arc<dyn Storage>, header: &SegmentHeader, bytes: u64) -> Result<bool> {
    let mut walker = Walker::new(Arc::clone(storage), *header, bytes);
    while walker.position().lsn < header.copied_until {
        if let Found::Nothing(_) = walker.next()? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_link(header: &SegmentHeader, next: &SegmentHeader) -> Result<()> {
    if header.log != next.log {
        return Err(lost_before(next, "the segment belongs to another log"));
    }
    if header.first > next.first {
        return Err(lost_before(next, "the segment begins after its successor"));
    }
    Ok(())
}

/// A leftover is deleted, so it must be one: of this log, and replaced by a segment that
/// knew of an older one.
fn refuse_if_foreign(header: &SegmentHeader, next: &SegmentHeader) -> Result<()> {
    if header.log == next.log && next.previous > SegmentId::default() {
        return Ok(());
    }
    Err(Error::Lost {
        lost: header.first..Lsn::MAX,
        at: start_of(next.segment, next.first),
        reason: format!(
            "segment {} begins a log of its own, but segment {} stands before it: two logs were \
             mixed; move one of them elsewhere",
            next.segment, header.segment
        ),
    })
}

fn lost_before(next: &SegmentHeader, reason: &str) -> Error {
    Error::Lost {
        lost: next.first..next.first,
        at: start_of(next.previous, next.first),
        reason: format!(
            "{reason}; segment {} continues it, and holds the records from LSN {} on",
            next.segment, next.first
        ),
    }
}

/// A segment whose header does not verify is a leftover of its own first append, unless a
/// second frame of this segment stands in it: then the first was stored, and the header is
/// damaged. Frames of the file's earlier uses claim other segments.
fn refuse_if_acknowledged(storage: &Arc<dyn Storage>, meta: Listed, reason: &str) -> Result<()> {
    let align = u64::from(storage.limits().align.max(512));
    let first = (HEADER_BYTES as u64).next_multiple_of(align);
    let mut offset = first + align;
    while offset < meta.bytes {
        let window = block_on(storage.read(meta.id, offset..meta.bytes.min(offset + (1 << 20))))?;
        if window.is_empty() {
            break;
        }
        for (index, place) in window
            .chunks(usize::try_from(align).unwrap_or(512))
            .enumerate()
        {
            if frame::claims_segment(place, meta.id) {
                let mut at = start_of(meta.id, Lsn::ZERO);
                at.offset = offset + index as u64 * align;
                return Err(Error::Lost {
                    lost: Lsn::ZERO..Lsn::MAX,
                    at,
                    reason: format!(
                        "{reason}, but frames stand in the segment; its LSNs are unknown"
                    ),
                });
            }
        }
        offset += window.len() as u64;
    }
    Ok(())
}
