//! Where the records of a frame will be, for those who asked.

use std::sync::Arc;

use crate::SegmentId;
use crate::frame::{Codec, FrameBuilder};
use crate::location::{Location, Placed, Target};

/// Which records of a frame somebody wants to find again.
pub(super) type Wanted = (Arc<Placed>, std::ops::Range<u32>);

/// The locations of the records that callers want to know, relative to their frame.
pub(super) fn locate(
    frame: &FrameBuilder,
    wanted: Vec<Wanted>,
) -> Vec<(Arc<Placed>, Vec<Location>)> {
    let (_, codec) = frame.records();
    let mut located = Vec::with_capacity(wanted.len());
    let (mut at, mut offset) = (0, frame.payload_offset());
    let mut entries = frame.entries();
    for (placed, records) in wanted {
        let mut locations = Vec::new();
        while at < records.end {
            let Some(entry) = entries.next() else { break };
            if records.contains(&at) {
                let target = match codec {
                    Codec::Plain => Target::Payload(offset),
                    Codec::Lz4 => Target::Frame(0),
                };
                let lsn = frame.first().plus(u64::from(at));
                locations.push(Location::new(SegmentId::default(), lsn, target, entry));
            }
            offset += u64::from(entry.0);
            at += 1;
        }
        located.push((placed, locations));
    }
    located
}
