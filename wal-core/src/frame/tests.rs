use proptest::prelude::*;

use super::*;
use crate::group::Queue;
use crate::{Append, SegmentId};

fn built(records: &[Vec<u8>], first: Lsn, chain: u64, seed: u32, offset: u64) -> Bytes {
    let mut frame = FrameBuilder::new(first, chain, records.len());
    let chunks = records.iter().filter(|record| !record.is_empty());
    let chunks: Vec<Bytes> = chunks
        .map(|record| Bytes::copy_from_slice(record))
        .collect();
    frame.push(
        chunks,
        records
            .iter()
            .map(|record| u32::try_from(record.len()).unwrap()),
    );
    finished(frame, seed, offset)
}

fn finished(frame: FrameBuilder, seed: u32, offset: u64) -> Bytes {
    let note = Note {
        kind: Kind::Records,
        durable: Lsn::ZERO,
        released: Lsn::ZERO,
        time: 5,
        segment: SegmentId::new(1),
        begins: false,
    };
    frame.finish(note, seed, offset).concat().into()
}

fn read(bytes: &Bytes, seed: u32, offset: u64) -> Result<Frame, &'static str> {
    let header = FrameHeader::decode(bytes, seed, offset)?;
    Frame::verify(header, bytes)
}

proptest! {
    /// G2: what is written is read, whatever the sizes.
    #[test]
    fn what_is_written_is_read(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        first in 0..u64::MAX / 2,
        chain in any::<u64>(),
    ) {
        let bytes = built(&records, Lsn::new(first), chain, 9, 4096);
        let frame = read(&bytes, 9, 4096).unwrap();
        let (end, count) = (frame.header.end(), records.len() as u64);
        let found: Vec<_> = frame.into_records().collect();
        prop_assert_eq!(end, Lsn::new(first + count));
        for (index, (lsn, payload)) in found.iter().enumerate() {
            prop_assert_eq!(*lsn, Lsn::new(first + index as u64));
            prop_assert_eq!(payload, &records[index]);
        }
        prop_assert_eq!(found.len(), records.len());
    }

    /// G2: whether appends are copied together, taken as they are, or both in one frame.
    #[test]
    fn appends_of_any_kind_share_a_frame(
        appends in prop::collection::vec((any::<bool>(), prop::collection::vec(0..5000usize, 1..4)), 1..30),
    ) {
        let (mut queue, mut records) = (Queue::default(), Vec::new());
        for (copied, lengths) in appends {
            let mut append = Append::new();
            for length in lengths {
                let record = vec![u8::try_from(records.len()).unwrap(); length];
                match copied {
                    true => append.push(&record),
                    false => append.push_bytes(record.clone().into()),
                }
                records.push(record);
            }
            queue.push(append, true, None);
        }
        let mut frame = FrameBuilder::new(Lsn::new(1), 2, records.len());
        for append in queue.take(u64::MAX).0 {
            frame.add(append.payload, append.lengths);
        }
        let frame = read(&finished(frame, 9, 4096), 9, 4096).unwrap();
        let found: Vec<_> = frame.into_records().map(|(_, payload)| payload).collect();
        prop_assert_eq!(found, records);
    }

    /// G4: no single damaged byte passes, and nothing passes at another place.
    #[test]
    fn what_was_changed_or_moved_is_refused(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..5),
        place in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        let bytes = built(&records, Lsn::new(3), 7, 9, 4096);
        let mut damaged = bytes.to_vec();
        damaged[place.index(bytes.len())] ^= flip;
        prop_assert!(read(&damaged.into(), 9, 4096).is_err());
        prop_assert!(read(&bytes, 9, 8192).is_err());
        prop_assert!(read(&bytes, 8, 4096).is_err());
    }

    /// G9: hostile bytes are refused; no panic, no allocation sized by them.
    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes.into(), 9, 4096).is_err());
    }

    /// G9: also when the header's checksum is right and its numbers are not.
    #[test]
    fn a_forged_header_is_refused(
        records in any::<u32>(),
        payload_bytes in any::<u64>(),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let header = FrameHeader {
            kind: Kind::Records,
            codec: Codec::Plain,
            begins: false,
            records,
            table_crc: crc(&rest),
            payload_bytes,
            first: Lsn::new(1),
            durable: Lsn::ZERO,
            released: Lsn::ZERO,
            chain: 0,
            time: 0,
            segment: SegmentId::new(1),
        };
        let mut bytes = header.encode(9, 4096).to_vec();
        bytes.extend_from_slice(&rest);
        let result = read(&bytes.into(), 9, 4096);
        prop_assert!(result.is_err() || (records == 0 && payload_bytes == 0));
    }
}
