//! The segments of a log that may be damaged, by their own word.
//!
//! Nothing is taken from where a segment stands or from what its neighbours say, unless it
//! has lost its own header: then the frames say which segment they were written to, and
//! another segment of the same writer, or a whole frame itself, gives what their checksums need.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::seed::seed_of;
use super::window::Window;
use crate::block::block_on;
use crate::codec::Fields;
use crate::frame::{Frame, FrameHeader, HEADER_BYTES as FRAME_HEADER};
use crate::segment::{HEADER_BYTES, NotAHeader, SegmentHeader};
use crate::{Identity, Lsn, Result, SegmentId, SegmentMeta, Storage};

/// So many places that look like frames are tried to learn who wrote a segment.
const TRIES: usize = 16;

/// A segment as it lies there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The number that the storage has it under.
    pub(super) id: SegmentId,
    pub(super) bytes: u64,
    /// The number that it was written under.
    pub(super) segment: SegmentId,
    pub(super) header: Option<SegmentHeader>,
    /// What its frames' checksums are seeded with; without it none can be verified.
    pub(super) seed: Option<u32>,
    pub(super) align: u64,
    /// No record here is older.
    pub(super) first: Lsn,
    /// What is wrong with the segment as a whole.
    pub(super) fault: Option<String>,
    /// Up to here the segment is full of frames.
    pub(super) sure: u64,
    /// Up to here it may hold frames that count.
    pub(super) limit: u64,
    /// Records at or above this LSN were replaced in a later segment.
    pub(super) until: Lsn,
}

/// Reads what the storage lists, as far as `newest`, if that is known: then as readers do.
pub(super) fn find(storage: &Arc<dyn Storage>, newest: Option<SegmentId>) -> Result<Vec<Place>> {
    let mut listed = block_on(match newest {
        Some(_) => storage.list(), // it is open
        None => storage.list_damaged(),
    })?;
    listed.retain(|meta| newest.is_none_or(|newest| meta.id <= newest));
    let align = u64::from(storage.limits().align.max(1));
    let mut places: Vec<Place> = listed
        .iter()
        .map(|meta| Place::read(storage, *meta, align))
        .collect();
    let log = main_log(&places);
    let writers: BTreeMap<Identity, SegmentHeader> = places
        .iter()
        .filter_map(|place| place.header.filter(|header| Some(header.log) == log))
        .map(|header| (header.writer, header))
        .collect();
    let mut before = Lsn::ZERO;
    for place in &mut places {
        match (place.header, log) {
            (Some(header), Some(log)) if header.log != log => {
                place.fault = Some(format!(
                    "the segment belongs to another log, {}",
                    header.log
                ));
                (place.header, place.seed) = (None, None);
            }
            (None, _) => place.learn(storage, &writers),
            _ => {}
        }
        if place.header.is_none() && place.seed.is_none() {
            place.first = place.first.max(before);
        }
        before = place.first;
    }
    bound(&mut places, newest.is_none());
    Ok(places)
}

/// The log that most segments belong to; of equals, that of the newest.
fn main_log(places: &[Place]) -> Option<Identity> {
    let mut counts: BTreeMap<Identity, (usize, SegmentId)> = BTreeMap::new();
    for header in places.iter().filter_map(|place| place.header) {
        let (count, newest) = counts.entry(header.log).or_default();
        *count += 1;
        *newest = header.segment.max(*newest);
    }
    let most = counts.into_iter().max_by_key(|(_, weight)| *weight);
    most.map(|(log, _)| log)
}

/// Where each segment ends, and which of its records count, by what later ones say; of what
/// recovery has copied the copy, or `either`.
fn bound(places: &mut [Place], either: bool) {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|at| places.get(*at).map(|place| place.segment));
    let mut ends: BTreeMap<SegmentId, (u64, bool)> = BTreeMap::new();
    let (mut until, mut later) = (Lsn::MAX, Lsn::MAX);
    let mut newer = None;
    for at in order.into_iter().rev() {
        let Some(place) = places.get_mut(at) else {
            continue;
        };
        // Duplicates of one segment do not replace each other.
        if newer != Some(place.segment) {
            (until, newer) = (later, Some(place.segment));
        }
        place.until = until;
        if let Some((end, whole)) = ends.get(&place.segment) {
            place.sure = *end;
            place.limit = if *whole {
                (*end).min(place.bytes)
            } else {
                place.bytes
            };
        }
        let Some(header) = place.header else {
            if place.seed.is_some() {
                later = later.min(place.first);
            }
            continue;
        };
        // What recovery has copied is the same in both places. Readers read the copy only.
        let copied = if either {
            header.copied_until
        } else {
            Lsn::ZERO
        };
        later = later.min(copied.max(header.first));
        let whole = copied <= header.first;
        ends.entry(header.previous)
            .or_insert((header.previous_end, whole));
    }
}

impl Place {
    fn read(storage: &Arc<dyn Storage>, meta: SegmentMeta, align: u64) -> Place {
        let bytes = block_on(storage.length(meta.id));
        let head = block_on(storage.read(meta.id, 0..HEADER_BYTES as u64));
        let decoded = match (&bytes, head) {
            (Err(error), _) => Err(error.to_string()),
            (_, Err(error)) => Err(error.to_string()),
            (_, Ok(head)) => SegmentHeader::decode(&head).map_err(|error| match error {
                NotAHeader::Invalid(reason) => reason.into(),
                NotAHeader::Newer(version) => format!("the segment has format version {version}"),
            }),
        };
        let bytes = bytes.unwrap_or(0);
        let mut place = Place {
            id: meta.id,
            bytes,
            segment: meta.id,
            header: None,
            seed: None,
            align,
            first: meta.first.unwrap_or(Lsn::ZERO),
            fault: None,
            sure: 0,
            limit: bytes,
            until: Lsn::MAX,
        };
        match decoded {
            Err(reason) => place.fault = Some(reason),
            Ok(header) => {
                if header.segment != meta.id {
                    place.fault = Some(format!("the segment was written as {}", header.segment));
                }
                place.segment = header.segment;
                place.seed = Some(header.frame_seed());
                place.align = u64::from(header.align);
                place.first = header.first;
                place.header = Some(header);
            }
        }
        place
    }

    /// Where the first frame stands.
    pub(super) fn start(&self) -> u64 {
        (HEADER_BYTES as u64).next_multiple_of(self.align)
    }

    /// Finds out from the frames who wrote a segment that has lost its header.
    fn learn(&mut self, storage: &Arc<dyn Storage>, writers: &BTreeMap<Identity, SegmentHeader>) {
        let mut window = Window::new(storage, self.id);
        let mut offset = self.start();
        for _ in 0..TRIES {
            offset = window.find(offset, self.align, self.bytes);
            let head = window.get(offset, FRAME_HEADER as u64, self.bytes);
            let Some(segment) = head.as_deref().ok().and_then(claimed_segment) else {
                offset = offset.saturating_add(self.align);
                continue;
            };
            let head = head.unwrap_or_default();
            let known = writers
                .values()
                .map(|writer| SegmentHeader { segment, ..*writer }.frame_seed())
                .find(|seed| FrameHeader::decode(&head, *seed, offset).is_ok());
            let seed = known.or_else(|| {
                let seed = seed_of(&head, offset)?;
                let header = FrameHeader::decode(&head, seed, offset).ok()?;
                let bytes = window.get(offset, header.bytes()?, self.bytes).ok()?;
                let frame = Frame::verify(header, &bytes).ok()?;
                // One or two checksums of 32 bits, of which the header gave one away.
                (frame.header.records > 0).then_some(seed)
            });
            if let Some(header) =
                seed.and_then(|seed| FrameHeader::decode(&head, seed, offset).ok())
            {
                (self.segment, self.seed) = (segment, seed);
                self.first = header.first;
                return;
            }
            offset = offset.saturating_add(self.align);
        }
    }
}

/// The segment that a frame header says it was written to; no proof yet.
fn claimed_segment(head: &[u8]) -> Option<SegmentId> {
    const SEGMENT_AT: usize = 64;
    head.get(SEGMENT_AT..)
        .and_then(|rest| Fields(rest).u64())
        .map(SegmentId::new)
}
