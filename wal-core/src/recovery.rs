//! Opening: finding the end of the log, and saying what was found.
//!
//! 1. [`layout`](crate::layout) reads the segment headers and links them.
//! 2. A log that was closed says where it ends, in the footer of its newest segment. Else
//!    the frames from the last known watermark on are walked and verified. The
//!    walk ends at the first place that holds no valid continuation: E.
//! 3. W, the highest durable LSN that anything intact attests, is compared with E.
//!    `E < W`: records that were durable are lost, and the open fails (G4).
//! 4. Records in `W..E` are intact but unconfirmed: the page cache may show what
//!    the disk lacks. They are copied into a new segment and synced before anyone
//!    sees them (G5). A copy that a crash cuts short does not count: its header
//!    says how far it must reach.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::attachment::{Attachment, Holds};
use crate::block::block_on;
use crate::checksum::CHAIN_START;
use crate::committer::{Committer, Cut, Queued, Shape, Start, Write};
use crate::driver::now_micros;
use crate::footer::{self, Footer};
use crate::frame::{Frame, Kind};
use crate::layout::{self, Layout};
use crate::planted::{planted, planted_or};
use crate::scan::{Found, Walker};
use crate::segment::SegmentHeader;
use crate::segments::{Known, SegmentInfo, Segments};
use crate::shared::Stats;
use crate::storage::Sync;
use crate::{
    Compression, Epoch, Error, Identity, Lsn, Options, Position, Receipt, Result, SegmentId,
    Storage, StorageError, Writer,
};

/// What an open found.
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// let storage = SimStorage::new(1);
/// let (wal, _) = Wal::open(storage.clone(), Options::default())?;
/// wal.commit("a")?;
/// wal.close()?;
/// let (_, recovery) = Wal::open(storage, Options::default())?;
/// assert!(recovery.clean);
/// assert_eq!((recovery.durable, recovery.end), (Lsn::new(1), Lsn::new(1)));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Recovery {
    /// The log's identity.
    pub log: Identity,
    /// The epoch of this open's writer; of the last one, if the log was only inspected.
    pub epoch: Epoch,
    /// The oldest record that can be read.
    pub oldest: Lsn,
    /// W: every record below it was durable for certain before this open.
    pub durable: Lsn,
    /// One past the last record; all below it is durable now.
    pub end: Lsn,
    /// What lay at or above `durable`, if anything did.
    pub unconfirmed: Option<Unconfirmed>,
    /// Whether the last writer closed the log.
    pub clean: bool,
    /// The named holds, and the LSN from which on each keeps the records.
    pub holds: BTreeMap<String, Lsn>,
    /// Segments that hold the log.
    pub segments: u64,
    /// Bytes of frames that were verified.
    pub verified_bytes: u64,
}

/// What lay beyond the last record that is known to have been durable. It may or may not
/// have been acknowledged: what is intact is kept, what is not is dropped. Nothing in the log tells
/// whether that was never completely stored or is damaged; a [`Receipt`] may.
///
/// ```
/// # use wal_core::{Options, Wal, sim::SimStorage};
/// let storage = SimStorage::new(1);
/// let options = Options { watermark_delay: None, ..Options::default() };
/// let (wal, _) = Wal::open(storage.clone(), options.clone())?;
/// wal.commit("a")?;
/// storage.crash(); // nothing after the commit says that "a" was durable
/// let (_, recovery) = Wal::open(storage, options)?;
/// assert_eq!(recovery.unconfirmed.unwrap().kept, 1);
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// The first such LSN.
    pub first: Lsn,
    /// Records that were intact and are kept.
    pub kept: u64,
    /// Bytes of frames that were not intact, or did not continue the log, and are dropped.
    pub dropped_bytes: u64,
}

/// An opened log, before its handle exists.
pub(crate) struct Opened {
    pub(crate) committer: Committer,
    pub(crate) segments: Segments,
    pub(crate) report: Recovery,
    pub(crate) stats: Stats,
}

/// What an open would find; changes nothing, and needs no role.
pub(crate) fn inspect(storage: &Arc<dyn Storage>) -> Result<Recovery> {
    let examined = examine(storage, None)?;
    let layout = &examined.layout;
    let log = layout.log().unwrap_or_default();
    let report = examined
        .walk
        .report(layout, log, layout.epoch(), examined.durable);
    Ok(report)
}

/// The log as it lies there, and checked.
struct Examined {
    layout: Layout,
    walk: Walk,
    /// W.
    durable: Lsn,
}

fn examine(storage: &Arc<dyn Storage>, receipt: Option<&Receipt>) -> Result<Examined> {
    let layout = layout::read(storage)?;
    let walk = Walk::run(storage, &layout)?;
    let mut durable = walk.durable.max(layout.durable());
    if storage.limits().in_order {
        walk.check_whole()?;
        durable = durable.max(walk.end);
    }
    if let Some(receipt) = receipt {
        receipt.check_log(layout.log(), walk.end)?;
        durable = durable.max(receipt.lsn);
    }
    walk.check(&layout, durable)?;
    let durable = planted_or("page-cache-believed", walk.end, durable);
    Ok(Examined {
        layout,
        walk,
        durable,
    })
}

/// Recovers the log for `writer`, who has the role.
pub(crate) fn recover(
    storage: &Arc<dyn Storage>,
    writer: Writer,
    options: &Options,
) -> Result<Opened> {
    let Examined {
        layout,
        walk,
        durable,
    } = examine(storage, options.receipt.as_ref())?;
    let in_order = storage.limits().in_order;
    let cut_at = |begun| {
        let cut = walk.cut(durable)?;
        let at = layout.without_doubtful_segments(cut.at, begun);
        Some(Cut { at, ..cut })
    };
    let cut = cut_at(walk.only_begun && !in_order);
    let previous = match cut {
        Some(cut) => layout.info_of(storage, cut.at.segment)?,
        None => None,
    };
    let unsealed = match (&previous, cut) {
        (Some(previous), Some(cut)) if storage.limits().reopens && !in_order => {
            place_of_seal(storage, &previous.header, cut)?
        }
        _ => None,
    };
    let unproven = walk.unproven && !in_order;
    let start = Start {
        log: layout.log().unwrap_or(writer.id),
        writer,
        next_segment: layout.next_segment(),
        previous: cut.map_or(SegmentId::default(), |cut| cut.at.segment),
        previous_end: cut.map_or(0, |cut| cut.at.offset),
        next: cut.map_or(Lsn::ZERO, |cut| cut.at.lsn),
        chain: cut.map_or(CHAIN_START, |cut| cut.chain),
        unsealed,
        previous_seed: previous.map_or(0, |previous| previous.header.frame_seed()),
        copied_until: walk.end,
        durable: cut.map_or(Lsn::ZERO, |cut| cut.at.lsn),
        released: walk.released,
        holds: walk.holds.clone(),
        truncates: walk.truncates && unproven,
        time: walk.time.max(layout.created()),
    };
    let shape = Shape {
        segment_bytes: options.segment_bytes,
        compress: options.compression == Compression::Lz4,
    };
    let mut opened = Opened {
        report: walk.report(&layout, start.log, writer.epoch, durable),
        committer: Committer::new(start, storage.limits(), shape),
        segments: layout.readable_until(cut.map(|cut| cut.at)),
        stats: Stats::default(),
    };
    if let Some(cut) = cut {
        opened.copy(storage, &layout, cut, walk.end)?;
    }
    if unproven && !opened.committer.has_written() && !planted("notes-believed-unproven") {
        opened.note_again(storage, walk.truncates)?;
    }
    // What nothing has replaced stays where it is, until something does.
    let replaced = opened.committer.has_written();
    let kept = if replaced { cut } else { cut_at(false) };
    for leftover in layout.leftovers(kept.map(|cut| cut.at.segment)) {
        block_on(storage.delete(leftover))?;
    }
    opened.report.segments = opened.segments.len() as u64;
    Ok(opened)
}

/// Where the seal of the segment goes that holds `cut`: behind all that lies there. `None` if it
/// was sealed when the log went on from it before.
fn place_of_seal(
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

/// What walking the frames from the last known watermark on has shown.
struct Walk {
    /// Starts of frames that may be at or above W, in order; the last is the end itself.
    places: VecDeque<Cut>,
    end: Lsn,
    durable: Lsn,
    released: Lsn,
    clean: bool,
    holds: Holds,
    /// Whether no frame proves yet that these holds, or a truncation, are durable: a writer
    /// begins none before they are.
    unproven: bool,
    /// No more than its first append stands in the newest segment: that may not be durable.
    only_begun: bool,
    /// The newest segment gave up what lay there before.
    truncates: bool,
    /// The latest time seen.
    time: i64,
    /// Why the walk ended, where a record should have been.
    stopped: &'static str,
    dropped_bytes: u64,
    /// Bytes between there and the end of the last segment that was walked.
    bytes_behind: u64,
    /// The highest durable LSN attested by a frame beyond the end.
    attested_beyond: Lsn,
    /// A seal stood at the end: the log goes on in a segment that is not there.
    sealed: bool,
    verified_bytes: u64,
}

impl Walk {
    fn run(storage: &Arc<dyn Storage>, layout: &Layout) -> Result<Walk> {
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
    fn check_whole(&self) -> Result<()> {
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
    fn check(&self, layout: &Layout, durable: Lsn) -> Result<()> {
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
    fn cut(&self, durable: Lsn) -> Option<Cut> {
        let below = self
            .places
            .iter()
            .rev()
            .find(|place| place.at.lsn <= durable);
        below.or(self.places.front()).copied()
    }

    fn report(&self, layout: &Layout, log: Identity, epoch: Epoch, durable: Lsn) -> Recovery {
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

impl Opened {
    /// Copies the frames from the cut to `end` into a new segment, and syncs it (G5).
    fn copy(
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
    fn note_again(&mut self, storage: &Arc<dyn Storage>, truncates: bool) -> Result<()> {
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
        let group = vec![Queued {
            chunks: [payload].into(),
            lengths: lengths.collect(),
            ..Queued::default()
        }];
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
