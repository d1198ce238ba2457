//! Walking the frames that may be at or above W.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Recovery, Unconfirmed};
use crate::attachment::{Attachment, Holds};
use crate::block::block_on;
use crate::committer::Cut;
use crate::footer::Footer;
use crate::frame::{Frame, Kind};
use crate::layout::Layout;
use crate::planted::planted;
use crate::scan::{Found, Walker};
use crate::segments::SegmentInfo;
use crate::{Epoch, Error, Identity, Lsn, Position, Result, Storage, footer};

/// What walking the frames from the last known watermark on has shown.
pub(super) struct Walk {
    /// Starts of frames that may be at or above W, in order; the last is the end itself.
    places: VecDeque<Cut>,
    pub(super) end: Lsn,
    pub(super) durable: Lsn,
    pub(super) released: Lsn,
    pub(super) clean: bool,
    pub(super) holds: Holds,
    /// Whether no frame proves yet that these holds, or a truncation, are durable: a writer
    /// begins none before they are.
    pub(super) unproven: bool,
    /// No more than its first append stands in the newest segment: that may not be durable.
    pub(super) only_begun: bool,
    /// The newest segment gave up what lay there before.
    pub(super) truncates: bool,
    /// The latest time seen.
    pub(super) time: i64,
    /// Why the walk ended, where a record should have been.
    stopped: &'static str,
    dropped_bytes: u64,
    /// Bytes between there and the end of the last segment that was walked.
    bytes_behind: u64,
    /// The highest durable LSN attested by a frame beyond the end.
    attested_beyond: Lsn,
    /// A seal stood at the end: the log goes on in a segment that is not there.
    sealed: bool,
    pub(super) verified_bytes: u64,
}

impl Walk {
    pub(super) fn run(storage: &Arc<dyn Storage>, layout: &Layout) -> Result<Walk> {
        let Some(newest) = layout.last() else {
            return Ok(Walk::new(layout));
        };
        if let Some(footer) = layout.closed() {
            return Ok(Walk::closed(layout, &newest, footer));
        }
        let mut walk = Walk::new(layout);
        walk.segments(storage, &[newest])?;
        // Usually that is enough: all that is older is durable, and is looked at when it is read.
        let durable = match storage.limits().in_order {
            true => newest.header.first,
            false => walk.durable.max(newest.header.durable),
        };
        if durable < newest.header.first && !planted("only-the-newest-segment-walked") {
            let since = layout.since(storage, newest.header.durable)?;
            walk = Walk::new(layout);
            walk.segments(storage, &since)?;
        }
        // What a truncation gave up was attested before that.
        if walk.end <= newest.header.first && !newest.header.truncates {
            walk.seal_before(storage, layout, &newest)?;
        }
        Ok(walk)
    }

    /// No record stands in the newest segment: the seal of the one before says whether its
    /// first frame was durable.
    fn seal_before(
        &mut self,
        storage: &Arc<dyn Storage>,
        layout: &Layout,
        newest: &SegmentInfo,
    ) -> Result<()> {
        let header = &newest.header;
        let Some(before) = layout.named(header.previous) else {
            return Ok(());
        };
        let before = layout.info(storage, before)?;
        let length = block_on(storage.length(header.previous))?;
        let at = header.previous_end;
        let footer = footer::starting_at(storage, &before.header, at, length)?;
        if let Some(seal) = footer.filter(|footer| footer.header.kind == Kind::Seal) {
            self.attested_beyond = self.attested_beyond.max(seal.header.durable);
        }
        Ok(())
    }

    fn new(layout: &Layout) -> Walk {
        Walk {
            places: VecDeque::new(),
            end: Lsn::ZERO,
            durable: Lsn::ZERO,
            released: layout.released(),
            clean: false,
            holds: Holds::new(),
            unproven: false,
            only_begun: false,
            truncates: false,
            time: 0,
            stopped: "the log is empty",
            dropped_bytes: 0,
            bytes_behind: 0,
            attested_beyond: Lsn::ZERO,
            sealed: false,
            verified_bytes: 0,
        }
    }

    /// The log was closed, so its last frame says all that a walk would find.
    fn closed(layout: &Layout, newest: &SegmentInfo, footer: &Footer) -> Walk {
        let header = &footer.header;
        let at = Position {
            segment: newest.header.segment,
            offset: footer.end,
            lsn: header.first,
        };
        Walk {
            places: VecDeque::from([Cut {
                at,
                chain: header.chain,
            }]),
            end: header.first,
            durable: header.durable,
            released: layout.released().max(header.released),
            clean: true,
            // That it was closed may be all that the segment holds, and the sync may have failed.
            only_begun: header.begins && !planted("failed-close-continued"),
            holds: footer.attachment.holds.clone(),
            time: header.time,
            verified_bytes: header.bytes().unwrap_or(0),
            ..Walk::new(layout)
        }
    }

    fn segments(&mut self, storage: &Arc<dyn Storage>, segments: &[SegmentInfo]) -> Result<()> {
        for segment in segments {
            if !self.places.is_empty() && !self.continues(segment) {
                self.stopped = "the segment before ends too early";
                self.beyond(storage, segment)?;
                continue;
            }
            // A segment begins with the holds, if there are any.
            self.holds = Holds::new();
            self.truncates = segment.header.truncates;
            self.unproven = self.truncates;
            self.only_begun = true;
            let mut walker = Walker::new(Arc::clone(storage), segment.header, segment.end);
            self.segment(&mut walker)?;
        }
        Ok(())
    }

    fn continues(&self, segment: &SegmentInfo) -> bool {
        self.places.back().is_some_and(|end| {
            end.at.lsn == segment.header.first && end.chain == segment.header.chain
        })
    }

    /// Walks one segment to the first place that holds no valid frame.
    fn segment(&mut self, walker: &mut Walker) -> Result<()> {
        self.place(walker);
        loop {
            match walker.next()? {
                Found::Frame(frame) => self.frame(walker, &frame),
                Found::Nothing(reason) => {
                    self.stopped = reason;
                    self.bytes_behind = walker.left();
                    let beyond = walker.probe_beyond()?;
                    self.attested_beyond = self.attested_beyond.max(beyond.durable);
                    self.sealed |= beyond.sealed && !planted("seal-at-the-end-ignored");
                    self.dropped_bytes += beyond.bytes;
                    return Ok(());
                }
            }
        }
    }

    /// A segment behind a gap: no longer part of the log, but what it attests counts.
    fn beyond(&mut self, storage: &Arc<dyn Storage>, segment: &SegmentInfo) -> Result<()> {
        let mut walker = Walker::new(Arc::clone(storage), segment.header, segment.end);
        let mut attested = segment.header.durable;
        while let Found::Frame(frame) = walker.next()? {
            attested = attested.max(frame.header.durable);
        }
        attested = attested.max(walker.probe_beyond()?.durable);
        self.attested_beyond = self.attested_beyond.max(attested);
        self.dropped_bytes += walker.position().offset;
        Ok(())
    }

    fn frame(&mut self, walker: &Walker, frame: &Frame) {
        let header = &frame.header;
        if header.kind == Kind::Seal && planted("seal-at-the-end-ignored") {
            return;
        }
        self.only_begun &= header.begins;
        self.durable = self.durable.max(header.durable);
        self.released = self.released.max(header.released);
        self.clean = header.kind == Kind::Close;
        self.sealed = header.kind == Kind::Seal;
        self.verified_bytes += header.bytes().unwrap_or(0);
        self.time = self.time.max(header.time);
        self.unproven &= header.begins;
        if matches!(header.kind, Kind::Holds | Kind::Close) {
            self.unproven = true;
            let attached = frame.attachment().and_then(|it| Attachment::decode(it));
            self.holds = attached.unwrap_or_default().holds;
        }
        if self.sealed {
            return; // the log never goes on behind a seal, so its place is no cut
        }
        self.place(walker);
    }

    /// Notes where the walker stands, and forgets places that are certainly below W.
    fn place(&mut self, walker: &Walker) {
        let at = walker.position();
        self.end = at.lsn;
        self.places.push_back(Cut {
            at,
            chain: walker.chain(),
        });
        while self
            .places
            .get(1)
            .is_some_and(|second| second.at.lsn <= self.durable)
        {
            self.places.pop_front();
        }
    }

    /// G4, where what can be read is durable and nothing is torn: bytes that are no frame were one.
    pub(super) fn check_whole(&self) -> Result<()> {
        match self.places.back() {
            Some(end) if self.bytes_behind > 0 => Err(Error::Lost {
                lost: self.end..self.attested_beyond.max(self.end.plus(1)),
                at: end.at,
                reason: format!(
                    "{}, and what this storage shows was stored whole",
                    self.stopped
                ),
            }),
            _ => Ok(()),
        }
    }

    /// G4: what was durable must be there.
    pub(super) fn check(&self, layout: &Layout, durable: Lsn) -> Result<()> {
        let promised = durable.max(self.attested_beyond);
        let at = self.places.back().map(|end| end.at);
        let Some(at) = at else {
            return Ok(());
        };
        if self.end < promised && !planted("damage-taken-for-a-torn-write") {
            return Err(Error::Lost {
                lost: self.end..promised,
                at,
                reason: format!(
                    "{}, but later bytes prove that these records were durable",
                    self.stopped
                ),
            });
        }
        if self.sealed && layout.is_newest(at.segment) {
            return Err(Error::Lost {
                lost: self.end..self.end.plus(1),
                at,
                reason: "the segment is sealed, so a newer one existed; it is missing or its \
                         header is damaged"
                    .into(),
            });
        }
        layout.check_head(self.released)
    }

    /// The last place at or below W: everything before it stays where it is.
    pub(super) fn cut(&self, durable: Lsn) -> Option<Cut> {
        let below = self
            .places
            .iter()
            .rev()
            .find(|place| place.at.lsn <= durable);
        below.or(self.places.front()).copied()
    }

    pub(super) fn report(
        &self,
        layout: &Layout,
        log: Identity,
        epoch: Epoch,
        durable: Lsn,
    ) -> Recovery {
        Recovery {
            log,
            epoch,
            oldest: self.oldest(layout),
            durable,
            end: self.end,
            unconfirmed: self.unconfirmed(durable),
            clean: self.clean,
            holds: self.holds.clone(),
            segments: layout.len(),
            verified_bytes: self.verified_bytes,
        }
    }

    fn oldest(&self, layout: &Layout) -> Lsn {
        self.released.max(layout.first()).min(self.end)
    }

    fn unconfirmed(&self, durable: Lsn) -> Option<Unconfirmed> {
        let found = Unconfirmed {
            first: durable,
            kept: self.end.since(durable),
            dropped_bytes: self.dropped_bytes,
        };
        (found.kept > 0 || found.dropped_bytes > 0).then_some(found)
    }
}
