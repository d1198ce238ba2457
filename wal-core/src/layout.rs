//! The segments of a log: which there are, which count, and how they link.
//!
//! The newest segment with a valid header (and, if it is recovery's copy, with all
//! that the copy must hold) is the log's end. Each header names the segment that it
//! continues, so the log is what can be walked from there to the oldest segment.
//! A segment that is not on that walk never held anything acknowledged: the first
//! append to it was cut short, or a later open has replaced it. It is a *leftover*.
//!
//! The walk reads headers only as far as leftovers can be. A writer deletes them before
//! it appends, so once two segments of one writer follow each other, all that is older is
//! settled: there the names must follow each other without a gap, and a header is read only
//! to ask whether a gap is one, or whether a leftover has come back.

mod header;
mod refused;

use std::sync::Arc;

pub(crate) use self::header::{is_complete, load};
use self::header::{read_header, start_of};
use self::refused::{check_link, refuse_if_acknowledged, refuse_if_foreign};
pub(crate) use self::refused::{lost_before, refuse_if_whole};
use crate::block::block_on;
use crate::footer::{self, Footer};
use crate::frame::Kind;
use crate::planted::planted;
use crate::segment::SegmentHeader;
use crate::segments::{Known, SegmentInfo, Segments};
use crate::storage::SegmentMeta;
use crate::{Epoch, Error, Identity, Lsn, Position, Result, SegmentId, Storage};

/// The segments of a log, oldest first, each with the offset at which it ends
/// (for the newest: an upper bound).
#[derive(Debug)]
pub(crate) struct Layout {
    segments: Segments,
    leftovers: Vec<SegmentId>,
    highest: SegmentId,
    /// A segment is missing before the oldest one here; what is still older lies in
    /// `leftovers`. No loss if all of that was released.
    gap: Option<Error>,
    /// How the newest segment ends, if its writer closed the log.
    closed: Option<Footer>,
    /// What the headers of leftovers behind the end attest: whose log, and how far it was durable.
    beyond: Vec<(Identity, Lsn)>,
}

/// Reads and links the headers.
pub(crate) fn read(storage: &Arc<dyn Storage>) -> Result<Layout> {
    let listed = block_on(storage.list())?;
    let mut layout = Layout {
        segments: Segments::default(),
        leftovers: Vec::new(),
        highest: listed.last().map_or(SegmentId::default(), |last| last.id),
        gap: None,
        closed: None,
        beyond: Vec::new(),
    };
    let settled = layout.link(storage, &listed)?;
    layout.names(storage, settled)?;
    Ok(layout)
}

impl Layout {
    /// Walks the headers from the newest segment to where all is settled; returns the names
    /// that are older.
    fn link<'a>(
        &mut self,
        storage: &Arc<dyn Storage>,
        mut listed: &'a [SegmentMeta],
    ) -> Result<&'a [SegmentMeta]> {
        // What the next newer segment on the walk says: its predecessor and where that ended.
        let mut wanted: Option<SegmentHeader> = None;
        while let Some((meta, older)) = listed.split_last() {
            listed = older;
            let id = meta.id;
            let header = read_header(storage, id)?;
            match wanted {
                None => match header {
                    Ok(header) if self.is_end(storage, &header)? => wanted = Some(header),
                    Ok(header) => {
                        self.leftovers.push(id);
                        self.beyond.push((header.log, header.durable));
                    }
                    Err(reason) => {
                        refuse_if_acknowledged(storage, id, reason)?;
                        self.leftovers.push(id);
                    }
                },
                Some(next) if id > next.previous => {
                    if let Ok(header) = header {
                        refuse_if_foreign(&header, &next)?;
                    }
                    self.leftovers.push(id);
                }
                Some(next) if id == next.previous => {
                    let header = header.map_err(|reason| lost_before(&next, reason))?;
                    check_link(&header, &next)?;
                    let end = next.previous_end.min(block_on(storage.length(id))?);
                    self.segments
                        .push_oldest(Known::read(SegmentInfo { header, end }));
                    if header.writer == next.writer {
                        return Ok(listed);
                    }
                    wanted = Some(header);
                }
                Some(next) => {
                    self.leftovers.push(id);
                    self.end_at_gap(&next, older);
                    return Ok(&[]);
                }
            }
        }
        Ok(&[])
    }

    /// The segment before `next` is missing: the log begins with `next`.
    fn end_at_gap(&mut self, next: &SegmentHeader, older: &[SegmentMeta]) {
        self.gap = Some(lost_before(next, "the segment is missing"));
        self.leftovers.extend(older.iter().map(|meta| meta.id));
    }

    /// Whether the log ends in this segment. Not if it is recovery's copy and was not finished.
    fn is_end(&mut self, storage: &Arc<dyn Storage>, header: &SegmentHeader) -> Result<bool> {
        let end = block_on(storage.length(header.segment))?;
        let footer = footer::ending_at(storage, header, end)?;
        self.closed = footer.filter(|footer| footer.header.kind == Kind::Close);
        let complete = self.closed.is_some()
            || planted("unfinished-copy-counts")
            || is_complete(storage, header, end)?;
        if complete {
            let header = *header;
            self.segments
                .push_oldest(Known::read(SegmentInfo { header, end }));
        }
        Ok(complete)
    }

    /// The segments before the last one whose header was read, by their names.
    fn names(&mut self, storage: &Arc<dyn Storage>, listed: &[SegmentMeta]) -> Result<()> {
        for (at, meta) in listed.iter().enumerate().rev() {
            let Some(next) = self.segments.oldest().cloned() else {
                return Ok(());
            };
            let mut header = None;
            // A segment that was replaced begins where its replacement does, or later.
            let replaced = meta.first.is_some_and(|first| first >= next.first);
            if replaced || meta.id.next() != next.id {
                let next = self.info(storage, &next)?.header;
                if meta.id > next.previous {
                    self.leftovers.push(meta.id);
                    continue;
                }
                if meta.id < next.previous {
                    let older = listed.get(..=at).unwrap_or_default();
                    self.end_at_gap(&next, older);
                    return Ok(());
                }
            }
            if meta.first.is_none() {
                header = Some(read_header(storage, meta.id)?);
            }
            let first = match (meta.first, header) {
                (Some(first), _) => Ok(first),
                (None, Some(Ok(header))) => Ok(header.first),
                (None, Some(Err(reason))) => Err(reason),
                (None, None) => Err("the segment has no header"),
            };
            let first = first.and_then(|first| match first <= next.first {
                true => Ok(first),
                false => Err("the segment's name claims a later LSN than its successor's"),
            });
            let first = first.map_err(|reason| Error::Lost {
                lost: next.first..next.first,
                at: start_of(meta.id, next.first),
                reason: reason.into(),
            })?;
            self.segments.push_oldest(Known::named(meta.id, first));
        }
        Ok(())
    }

    /// What the header of one of these segments says.
    pub(crate) fn info(&self, storage: &Arc<dyn Storage>, known: &Known) -> Result<SegmentInfo> {
        match &known.info {
            Some(info) => Ok(**info),
            None => load(storage, known, self.log().unwrap_or_default()),
        }
    }

    /// The segment with this number, if it is part of the log.
    pub(crate) fn info_of(
        &self,
        storage: &Arc<dyn Storage>,
        id: SegmentId,
    ) -> Result<Option<SegmentInfo>> {
        let known = self.segments.get(id);
        known.map(|known| self.info(storage, known)).transpose()
    }

    pub(crate) fn named(&self, id: SegmentId) -> Option<&Known> {
        self.segments.get(id)
    }

    fn newest(&self) -> Option<&SegmentInfo> {
        self.segments.newest()?.info.as_deref()
    }

    pub(crate) fn closed(&self) -> Option<&Footer> {
        self.closed.as_ref()
    }

    pub(crate) fn log(&self) -> Option<Identity> {
        self.newest().map(|segment| segment.header.log)
    }

    /// The epoch of the newest segment's writer.
    pub(crate) fn epoch(&self) -> Epoch {
        self.newest()
            .map_or(Epoch::default(), |segment| segment.header.epoch)
    }

    pub(crate) fn len(&self) -> u64 {
        self.segments.len() as u64
    }

    pub(crate) fn first(&self) -> Lsn {
        self.segments
            .oldest()
            .map_or(Lsn::ZERO, |known| known.first)
    }

    /// W as the newest headers attest it.
    pub(crate) fn durable(&self) -> Lsn {
        let beyond = self.beyond.iter().filter(|it| Some(it.0) == self.log());
        let beyond = beyond.map(|it| it.1).max().unwrap_or_default();
        self.newest()
            .map_or(Lsn::ZERO, |segment| segment.header.durable.max(beyond))
    }

    /// The released LSN as the newest header attests it.
    pub(crate) fn released(&self) -> Lsn {
        self.newest()
            .map_or(Lsn::ZERO, |segment| segment.header.released)
    }

    /// When the newest segment was begun.
    pub(crate) fn created(&self) -> i64 {
        self.newest().map_or(0, |segment| segment.header.created)
    }

    pub(crate) fn next_segment(&self) -> SegmentId {
        self.highest.next()
    }

    pub(crate) fn is_newest(&self, segment: SegmentId) -> bool {
        self.segments
            .newest()
            .is_some_and(|newest| newest.id == segment)
    }

    /// The newest segment.
    pub(crate) fn last(&self) -> Option<SegmentInfo> {
        self.newest().copied()
    }

    /// The segments from the one that holds `lsn` on, with their headers.
    pub(crate) fn since(&self, storage: &Arc<dyn Storage>, lsn: Lsn) -> Result<Vec<SegmentInfo>> {
        self.segments
            .since(lsn)
            .map(|known| self.info(storage, known))
            .collect()
    }

    /// The segments that stay part of the log if it goes on from `cut`.
    pub(crate) fn readable_until(&self, cut: Option<Position>) -> Segments {
        let Some(cut) = cut else {
            return Segments::default();
        };
        let mut kept = self.segments.clone();
        kept.take_after(cut.segment);
        if let Some(info) = kept.newest_mut().and_then(|last| last.info.as_mut()) {
            info.end = cut.offset;
        }
        kept
    }

    /// The same place of the log, but at the end of the segment before where no record stands
    /// between `cut` and the start of its segment, and it is not known whether that is durable:
    /// because nothing does, or because no more than its first append is there. What recovery
    /// stores must not continue a segment that a power loss may still take away (G5); and what
    /// is copied again and again, because each time the process was killed soon after, must not
    /// leave an empty segment each time.
    pub(crate) fn without_doubtful_segments(&self, mut cut: Position, begun: bool) -> Position {
        for known in self.segments.iter().rev() {
            let Some(info) = &known.info else { break };
            let header = &info.header;
            let doubtful = begun && self.is_newest(header.segment) && cut.lsn == header.first;
            let empty = doubtful || cut.offset == header.stored_bytes();
            if cut.segment == header.segment
                && empty
                && self.segments.get(header.previous).is_some()
            {
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
            .map(|segment| segment.id)
            .filter(|id| last.is_some_and(|last| *id > last));
        self.leftovers.iter().copied().chain(superseded).collect()
    }

    /// G4: the oldest segment may begin after what was released, never after more.
    pub(crate) fn check_head(&self, released: Lsn) -> Result<()> {
        match (self.segments.oldest(), &self.gap) {
            _ if planted("missing-head-not-noticed") => Ok(()),
            (Some(head), Some(gap)) if head.first > released => Err(gap.clone()),
            (Some(head), None) if head.first > released => Err(Error::Lost {
                lost: released..head.first,
                at: start_of(head.id, head.first),
                reason: format!(
                    "the log begins here, but only what lies below LSN {released} was released: \
                     older segments are missing"
                ),
            }),
            _ => Ok(()),
        }
    }
}
