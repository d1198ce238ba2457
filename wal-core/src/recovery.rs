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

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::block_on;
use crate::checksum::CHAIN_START;
use crate::committer::{Committer, Cut, Shape, Start};
use crate::layout::{self, Layout};
use crate::planted::{planted, planted_or};
use crate::segments::Segments;
use crate::shared::Stats;
use crate::{
    Compression, Epoch, Identity, Lsn, Options, Receipt, Result, SegmentId, Storage, Writer,
};

mod storing;
mod walk;

use storing::place_of_seal;
use walk::Walk;

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
    Ok(inspect_layout(storage)?.0)
}

/// The same, and the layout in which it was found.
pub(crate) fn inspect_layout(storage: &Arc<dyn Storage>) -> Result<(Recovery, Layout)> {
    let examined = examine(storage, None)?;
    let layout = &examined.layout;
    let log = layout.log().unwrap_or_default();
    let report = examined
        .walk
        .report(layout, log, layout.epoch(), examined.durable);
    Ok((report, examined.layout))
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
