//! What a read-only view has seen of a log that changes under it.
//!
//! The writer appends, rolls, releases, recycles, dies and is replaced in between two reads.
//! So nothing that looks wrong once is believed: bytes may have been read while they were
//! written, and a segment may be gone because it was released. A fault is one that a second
//! look finds in the same place.
//!
//! Invariant: the frames that were walked are whole and linked, and the durable LSN is one
//! that the log attests, never beyond them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::block::block_on;
use crate::frame::Kind;
use crate::layout::{self, Layout};
use crate::planted::planted_or;
use crate::scan::{Found, Walker};
use crate::segment::{HEADER_BYTES, SegmentHeader};
use crate::segments::SegmentInfo;
use crate::truncate::Truncations;
use crate::{Error, Lsn, Position, Result, SegmentId, Storage};

/// How often a fault that moves about is looked at again before it is believed.
const ATTEMPTS: u32 = 20;

/// A look that finds nothing new searches so far ahead for frames that prove damage.
const PROBE_BYTES: u64 = 1 << 20;

/// Repeats what failed until it succeeds, or fails twice in a row for the same reason at the
/// same place.
pub(crate) fn settled<T>(mut look: impl FnMut() -> Result<T>) -> Result<T> {
    let mut before = None;
    let mut attempt = 0;
    loop {
        let error = match look() {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let fault = match &error {
            Error::Lost { at, .. } => format!("{} {}", at.segment, at.offset),
            other => other.to_string(),
        };
        attempt += 1;
        if before.as_ref() == Some(&fault) || attempt == ATTEMPTS {
            return Err(error);
        }
        before = Some(fault);
        std::thread::sleep(Duration::from_millis(1)); // a write under way is over by then
    }
}

/// The linked segments, and where the next frame is looked for.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Oldest first, each continuing the one before.
    segments: VecDeque<SegmentInfo>,
    /// In the newest segment; none if the log is empty.
    walker: Option<Walker>,
    attested: Lsn,
    /// Ends of frames and the chain value there, from the last one that is attested on.
    ends: VecDeque<(Lsn, u64)>,
    /// What the storage shows is durable, whether it is attested or not.
    in_order: bool,
    released: Lsn,
    /// The last frame was a seal: a newer segment exists.
    sealed: bool,
    truncations: Truncations,
}

impl Seen {
    /// Reads the headers, and walks the frames since the newest one's watermark.
    pub(crate) fn new(storage: &Arc<dyn Storage>) -> Result<Seen> {
        Seen::of(storage, &layout::read(storage)?)
    }

    /// The same, where the headers were read just now.
    pub(crate) fn of(storage: &Arc<dyn Storage>, layout: &Layout) -> Result<Seen> {
        let mut seen = Seen {
            segments: layout.since(storage, Lsn::ZERO)?.into(),
            truncations: Truncations::default(),
            walker: None,
            attested: Lsn::ZERO,
            ends: VecDeque::new(),
            in_order: storage.limits().in_order,
            released: Lsn::ZERO,
            sealed: false,
        };
        let Some(newest) = seen.segments.back().copied() else {
            return Ok(seen);
        };
        let durable = match seen.in_order {
            true => newest.header.first,
            false => newest.header.durable,
        };
        let after = seen
            .segments
            .partition_point(|segment| segment.header.first <= durable);
        let since = seen.segments.range(after.saturating_sub(1)..);
        let since: Vec<SegmentInfo> = since.copied().collect();
        for segment in since {
            seen.enter(storage, segment)?;
        }
        seen.probe(storage)?;
        seen.check_ends()?;
        Ok(seen)
    }

    /// W, as far as the frames below it were seen.
    pub(crate) fn durable(&self) -> Lsn {
        let end = self.walker.as_ref().map(|walker| walker.position().lsn);
        let attested = planted_or("view-shows-what-is-not-attested", Lsn::MAX, self.attested);
        attested.min(end.unwrap_or(Lsn::ZERO))
    }

    pub(crate) fn oldest(&self) -> Lsn {
        let first = self.segments.front().map(|segment| segment.header.first);
        self.released
            .max(first.unwrap_or(Lsn::ZERO))
            .min(self.durable())
    }

    pub(crate) fn truncations(&self) -> &Truncations {
        &self.truncations
    }

    /// Takes over from an earlier look, of which this one knows nothing: how often the log was
    /// truncated since.
    pub(crate) fn after(mut self, earlier: &Seen, storage: &Arc<dyn Storage>) -> Result<Self> {
        self.truncations = earlier.truncations.clone();
        let known = |segment: &SegmentInfo| {
            let mut known = earlier.segments.iter();
            known.any(|known| known.header == segment.header)
        };
        if !earlier.segments.is_empty() && !self.segments.iter().any(known) {
            // The segment that said so may have been released, too, with all before it.
            if !self.continues(earlier, storage)? {
                self.truncations.add(self.oldest());
            }
            return Ok(self);
        }
        let known = earlier.segments.back().map(|newest| newest.header.segment);
        let newer = self.segments.iter();
        let newer = newer.filter(|segment| Some(segment.header.segment) > known);
        for segment in newer.filter(|segment| segment.header.truncates) {
            self.truncations.add(segment.header.copied_until);
        }
        Ok(self)
    }

    /// Whether the records that `earlier` has shown, as far as they are here, are the same.
    fn continues(&self, earlier: &Seen, storage: &Arc<dyn Storage>) -> Result<bool> {
        let Some((lsn, chain)) = earlier.ends.front().copied() else {
            return Ok(true);
        };
        let Some(segment) = self.segment_of(lsn) else {
            return Ok(true); // released since
        };
        let mut walker = Walker::new(Arc::clone(storage), segment.header, segment.end);
        while walker.position().lsn < lsn {
            if matches!(walker.next()?, Found::Nothing(_)) {
                return Ok(false);
            }
        }
        Ok((walker.position().lsn, walker.chain()) == (lsn, chain))
    }

    /// Looks for what is new.
    pub(crate) fn look(&mut self, storage: &Arc<dyn Storage>) -> Result<()> {
        let Some(newest) = self.segments.back().map(|newest| newest.header.segment) else {
            *self = Seen::new(storage)?;
            return Ok(());
        };
        let length = block_on(storage.length(newest))?;
        if let Some(newest) = self.segments.back_mut() {
            newest.end = length;
        }
        self.walk_to(length)?;
        let listed = block_on(storage.list())?;
        let mut found = false;
        for meta in listed.iter().filter(|meta| meta.id > newest) {
            if let Some(segment) = readable(storage, meta.id)? {
                self.link(storage, segment)?;
                found = true;
            }
        }
        let oldest = listed.first().map(|meta| meta.id);
        while self.segments.len() > 1
            && self.segments.front().map(|front| front.header.segment) < oldest
        {
            self.segments.pop_front();
        }
        if !found {
            self.probe(storage)?;
        }
        self.check_ends()
    }

    /// Goes on in `next`, which continues one of the segments seen: the newest, or an older
    /// one if a new writer's recovery has replaced what followed.
    fn link(&mut self, storage: &Arc<dyn Storage>, next: SegmentInfo) -> Result<()> {
        let header = &next.header;
        let previous = |segment: &SegmentInfo| segment.header.segment == header.previous;
        let Some(at) = self.segments.iter().rposition(previous) else {
            return Err(self.lost("the segments that follow have been released, or are missing"));
        };
        if at + 1 == self.segments.len() {
            self.walk_to(header.previous_end)?;
        }
        self.segments.truncate(at + 1);
        if let Some(previous) = self.segments.back_mut() {
            previous.end = header.previous_end;
        }
        self.segments.push_back(next);
        if header.truncates {
            self.truncations.add(header.copied_until);
            self.attested = self.attested.min(header.copied_until);
        }
        self.enter(storage, next)
    }

    /// Walks a segment from its start.
    fn enter(&mut self, storage: &Arc<dyn Storage>, segment: SegmentInfo) -> Result<()> {
        let header = segment.header;
        if let Some(before) = &self.walker
            && before.position().lsn < header.first
        {
            return Err(self.lost("the segment ends too early"));
        }
        self.sealed = false;
        self.attested = self.attested.max(header.durable);
        self.released = self.released.max(header.released);
        self.walker = Some(Walker::new(Arc::clone(storage), header, segment.end));
        self.ends.retain(|(lsn, _)| *lsn < header.first);
        self.ends.push_back((header.first, header.chain));
        self.walk_to(segment.end)?;
        Ok(())
    }

    /// Walks on to `limit`; says whether there was anything.
    fn walk_to(&mut self, limit: u64) -> Result<bool> {
        let Some(walker) = &mut self.walker else {
            return Ok(false);
        };
        walker.extend(limit);
        let start = walker.position().offset;
        while let Found::Frame(frame) = walker.next()? {
            let header = &frame.header;
            self.attested = self.attested.max(header.durable);
            self.released = self.released.max(header.released);
            self.sealed = header.kind == Kind::Seal;
            self.ends.push_back((walker.position().lsn, walker.chain()));
            if self.in_order {
                self.attested = walker.position().lsn;
            }
            while self.ends.get(1).is_some_and(|end| end.0 <= self.attested) {
                self.ends.pop_front();
            }
        }
        if self.in_order {
            self.attested = self.attested.max(walker.position().lsn);
        }
        Ok(walker.position().offset > start)
    }

    /// Whether frames ahead prove that one in between is damaged: only then is it damage and
    /// not a write under way.
    fn probe(&mut self, storage: &Arc<dyn Storage>) -> Result<()> {
        let (Some(walker), Some(newest)) = (&self.walker, self.segments.back()) else {
            return Ok(());
        };
        let at = walker.position();
        let limit = newest.end.min(at.offset.saturating_add(PROBE_BYTES));
        let mut ahead = Walker::new(Arc::clone(storage), newest.header, limit).at(
            at.offset,
            at.lsn,
            walker.chain(),
        );
        let attested = ahead.probe_beyond()?.durable;
        self.attested = self.attested.max(attested);
        // What is attested was there before the attest: it shows now, or it is lost.
        let torn = self.in_order && at.offset < newest.end;
        let limit = newest.end;
        if (attested > at.lsn || torn) && !self.walk_to(limit)? {
            return Err(self.lost(match torn {
                true => "no frame stands here, and what this storage shows was stored whole",
                false => "later bytes prove that records were durable",
            }));
        }
        Ok(())
    }

    /// G4: a sealed segment has a newer one, and the oldest may begin after what was released,
    /// never after more.
    fn check_ends(&self) -> Result<()> {
        if self.sealed {
            return Err(self.lost("the segment is sealed, but there is no newer one"));
        }
        match self.segments.front() {
            Some(head) if head.header.first > self.released => {
                Err(self.lost("older segments are missing"))
            }
            _ => Ok(()),
        }
    }

    fn lost(&self, reason: &str) -> Error {
        let at = self.walker.as_ref().map(Walker::position);
        let at = at.unwrap_or(Position {
            segment: SegmentId::default(),
            offset: 0,
            lsn: Lsn::ZERO,
        });
        Error::Lost {
            lost: at.lsn..self.attested.max(at.lsn),
            at,
            reason: reason.into(),
        }
    }

    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<SegmentInfo> {
        let after = self
            .segments
            .partition_point(|segment| segment.header.first <= lsn);
        self.segments.get(after.checked_sub(1)?).copied()
    }

    pub(crate) fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> (Option<SegmentInfo>, Option<SegmentInfo>) {
        let find = |wanted: &dyn Fn(SegmentId) -> bool| {
            let mut segments = self.segments.iter();
            segments
                .find(|segment| wanted(segment.header.segment))
                .copied()
        };
        (find(&|it| it == id), find(&|it| it > id))
    }
}

/// A segment whose header is there; and all of its copy, if recovery has begun it.
fn readable(storage: &Arc<dyn Storage>, id: SegmentId) -> Result<Option<SegmentInfo>> {
    let bytes = block_on(storage.read(id, 0..HEADER_BYTES as u64))?;
    let Ok(header) = SegmentHeader::decode(&bytes) else {
        layout::refuse_if_whole(storage, id, bytes.len() as u64, "the segment has no header")?;
        return Ok(None); // being created; a newer format shows when the log is opened
    };
    if header.segment != id {
        return Ok(None); // a recycled file that is not written yet
    }
    let end = block_on(storage.length(id))?;
    let complete = layout::is_complete(storage, &header, end)?;
    Ok(complete.then_some(SegmentInfo { header, end }))
}
