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

use std::sync::Arc;

use crate::block::block_on;
use crate::footer::{self, Footer};
use crate::frame::{self, Kind};
use crate::planted::planted;
use crate::scan::{Found, Walker};
use crate::segment::{HEADER_BYTES, NotAHeader, SegmentHeader, VERSION};
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

type Header = std::result::Result<SegmentHeader, &'static str>;

fn read_header(storage: &Arc<dyn Storage>, id: SegmentId) -> Result<Header> {
    let bytes = block_on(storage.read(id, 0..HEADER_BYTES as u64))?;
    match SegmentHeader::decode(&bytes) {
        Ok(header) if header.segment != id => Ok(Err("the segment header is of another segment")),
        Ok(header) => Ok(Ok(header)),
        Err(NotAHeader::Invalid(reason)) => Ok(Err(reason)),
        Err(NotAHeader::Newer(found)) => Err(Error::NewerFormat {
            at: start_of(id, Lsn::ZERO),
            found,
            known: VERSION,
        }),
    }
}

/// The header of a segment that certainly is part of the log.
pub(crate) fn load(
    storage: &Arc<dyn Storage>,
    known: &Known,
    log: Identity,
) -> Result<SegmentInfo> {
    let lost = |reason: &str| Error::Lost {
        lost: known.first..known.first.plus(1),
        at: start_of(known.id, known.first),
        reason: reason.into(),
    };
    let header = read_header(storage, known.id)?.map_err(lost)?;
    if header.log != log {
        return Err(lost("the segment belongs to another log"));
    }
    if header.first != known.first {
        return Err(lost(
            "the segment's name and its header tell different LSNs",
        ));
    }
    let end = block_on(storage.length(known.id))?;
    Ok(SegmentInfo { header, end })
}

fn start_of(segment: SegmentId, lsn: Lsn) -> Position {
    Position {
        segment,
        offset: 0,
        lsn,
    }
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

/// Whether recovery's copy, if the segment begins with one, was finished. It was, too, if a
/// later frame says so: then what is missing of it was damaged since (G4).
pub(crate) fn is_complete(
    storage: &Arc<dyn Storage>,
    header: &SegmentHeader,
    bytes: u64,
) -> Result<bool> {
    let mut walker = Walker::new(Arc::clone(storage), *header, bytes);
    // The holds that are in force stand in the first append: without them it was cut short, too.
    let mut bare = true;
    while bare || walker.position().lsn < header.copied_until {
        if let Found::Nothing(_) = walker.next()? {
            if storage.limits().in_order && walker.left() > 0 {
                return Ok(true); // nothing is ever torn there: it is damage, and the walk says so
            }
            let attested = walker.probe_beyond()?.durable;
            return Ok(attested >= header.copied_until && (!bare || attested > header.first));
        }
        bare = false;
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

pub(crate) fn lost_before(next: &SegmentHeader, reason: &str) -> Error {
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
/// frame of a later append stands in it: then the first was stored, and the header is
/// damaged. Frames of the file's earlier uses claim other segments.
fn refuse_if_acknowledged(storage: &Arc<dyn Storage>, id: SegmentId, reason: &str) -> Result<()> {
    const WINDOW: u64 = 1 << 20;
    let bytes = block_on(storage.length(id))?;
    refuse_if_whole(storage, id, bytes, reason)?;
    let align = u64::from(storage.limits().align.max(1));
    let mut offset = (HEADER_BYTES as u64).next_multiple_of(align);
    while offset < bytes {
        // Windows overlap by a frame header.
        let end = bytes.min(offset + WINDOW + frame::HEADER_BYTES as u64);
        let window = block_on(storage.read(id, offset..end))?;
        let step = usize::try_from(align).unwrap_or(1);
        for at in (0..window.len()).step_by(step) {
            let place = window.get(at..).unwrap_or_default();
            if frame::claims_segment(place, id) {
                return Err(Error::Lost {
                    lost: Lsn::ZERO..Lsn::MAX,
                    at: Position {
                        offset: offset + at as u64,
                        ..start_of(id, Lsn::ZERO)
                    },
                    reason: format!(
                        "{reason}, but frames stand in the segment; its LSNs are unknown"
                    ),
                });
            }
        }
        offset += WINDOW;
    }
    Ok(())
}

/// Where appends are stored whole or not at all, a header was whole once if any of it is there.
pub(crate) fn refuse_if_whole(
    storage: &Arc<dyn Storage>,
    id: SegmentId,
    bytes: u64,
    reason: &str,
) -> Result<()> {
    let whole = storage.limits().in_order && !planted("damaged-header-taken-for-none");
    match whole && bytes > 0 {
        true => Err(Error::Lost {
            lost: Lsn::ZERO..Lsn::MAX,
            at: start_of(id, Lsn::ZERO),
            reason: format!("{reason}, and what this storage shows was stored whole"),
        }),
        false => Ok(()),
    }
}
