//! G9: segments whose checksums are all right and whose contents are all lies. The codecs
//! that make them are private, so this test stands here.

use proptest::prelude::*;

use super::*;
use crate::block::block_on;
use crate::frame::{Codec, ENTRY_BYTES, FrameHeader, Kind};
use crate::segment::SegmentHeader;
use crate::sim::SimStorage;
use crate::storage::Sync;
use crate::{Epoch, Error, Identity, Limits, Options};

/// Small numbers, so that things link and overlap; and extreme ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..6u64,
        1 => Just(4096),
        1 => Just(u64::MAX),
        1 => Just(u64::MAX - 1),
        1 => any::<u64>(),
    ]
}

fn header() -> impl Strategy<Value = SegmentHeader> {
    let align = prop_oneof![Just(1u32), Just(512), Just(4096)];
    (align, 0..3u128, prop::array::uniform9(number())).prop_map(|(align, log, fields)| {
        let [
            writer,
            segment,
            first,
            chain,
            previous,
            previous_end,
            durable,
            released,
            copied,
        ] = fields;
        SegmentHeader {
            align,
            log: Identity::new(log / 2),
            writer: Identity::new(u128::from(writer % 2)),
            epoch: Epoch::new(writer),
            segment: SegmentId::new(segment.max(1)),
            first: Lsn::new(first),
            chain,
            previous: SegmentId::new(previous.min(segment.max(1) - 1)),
            previous_end,
            durable: Lsn::new(durable),
            released: Lsn::new(released),
            copied_until: Lsn::new(copied),
            created: 0,
            truncates: log % 2 == 1,
        }
    })
}

#[derive(Clone, Debug)]
struct Liar {
    kind: Kind,
    codec: Codec,
    /// Lengths in the table; the header may claim more records.
    lengths: Vec<u32>,
    more: u32,
    fields: [u64; 5],
    payload: Vec<u8>,
    /// Bytes to the next frame, besides its own.
    gap: usize,
}

fn liar() -> impl Strategy<Value = Liar> {
    let kind = prop_oneof![4 => Just(Kind::Records), 1 => Just(Kind::Mark), 1 => Just(Kind::Seal), 1 => Just(Kind::Holds)];
    let codec = prop_oneof![4 => Just(Codec::Plain), 1 => Just(Codec::Lz4)];
    let length = prop_oneof![6 => 0..20u32, 1 => Just(u32::MAX)];
    let more = prop_oneof![6 => Just(0u32), 1 => 0..5u32, 1 => Just(u32::MAX - 10)];
    (
        (kind, codec),
        prop::collection::vec(length, 0..4),
        more,
        prop::array::uniform5(number()),
        prop::collection::vec(any::<u8>(), 0..80),
        0..3usize,
    )
        .prop_map(
            |((kind, codec), lengths, more, fields, payload, gap)| Liar {
                kind,
                codec,
                lengths,
                more,
                fields,
                payload,
                gap,
            },
        )
}

fn segment(header: &SegmentHeader, frames: &[Liar], spoiled: bool) -> Vec<u8> {
    let mut out = header.encode();
    for liar in frames {
        let align = usize::try_from(header.align).unwrap();
        out.resize(out.len().next_multiple_of(align) + liar.gap * align, 0);
        let [payload_bytes, first, durable, released, chain] = liar.fields;
        let mut table = Vec::new();
        let mut rest = liar.payload.as_slice();
        for (index, length) in liar.lengths.iter().enumerate() {
            let (record, after) = rest.split_at(rest.len().min(*length as usize));
            let lsn = Lsn::new(first).plus(index as u64);
            table.extend_from_slice(&length.to_le_bytes());
            table.extend_from_slice(&crate::checksum::record_crc(lsn, record).to_le_bytes());
            rest = after;
        }
        let records = table.len() / ENTRY_BYTES;
        let frame = FrameHeader {
            kind: liar.kind,
            codec: liar.codec,
            begins: false,
            records: u32::try_from(records).unwrap() + liar.more,
            table_crc: crate::checksum::crc(&table),
            payload_bytes: match payload_bytes {
                0..3 => liar.payload.len() as u64,
                lie => lie,
            },
            first: Lsn::new(first),
            durable: Lsn::new(durable),
            released: Lsn::new(released),
            chain,
            time: 0,
            segment: header.segment,
        };
        out.extend_from_slice(&frame.encode(header.frame_seed(), out.len() as u64));
        out.extend_from_slice(&table);
        out.extend_from_slice(&liar.payload);
    }
    if spoiled {
        out[30] ^= 1;
    }
    out
}

/// What opens is used in every way; each may fail, none may do harm.
fn use_all_of(disk: &SimStorage) {
    let options = Options {
        segment_bytes: 64 << 10,
        append_bytes: 1 << 10,
        watermark_delay: None,
        ..Options::default()
    };
    let Ok((wal, _)) = Wal::open(disk.clone(), options) else {
        return;
    };
    let _ = wal.seek_time(std::time::UNIX_EPOCH + std::time::Duration::from_micros(5));
    let oldest = wal.oldest();
    for lsn in (0..20).map(|more| oldest.plus(more)) {
        let _ = wal.get(lsn);
    }
    let _ = wal.check(&wal.receipt());
    let _ = wal.backup(SimStorage::with_limits(2, disk.limits()));
    let _ = wal.commit("x");
    let _ = wal.truncate(oldest.plus(1));
    let _ = wal.set_hold("h", wal.oldest());
    let _ = wal.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Neither panics nor goes on for ever nor yields more than there is.
    #[test]
    fn lies_with_right_checksums_do_no_harm(
        segments in prop::collection::vec(
            (header(), prop::collection::vec(liar(), 0..6), prop::bool::weighted(0.2)), 1..6),
    ) {
        let limits = Limits { align: 1, in_flight: 1, append_bytes: 1 << 20, ..Limits::default() };
        let disk = SimStorage::with_limits(1, limits);
        block_on(disk.acquire()).unwrap();
        let mut most = 0;
        for (index, (header, frames, spoiled)) in segments.iter().enumerate() {
            let id = SegmentId::new(index as u64 + 1);
            let bytes = segment(header, frames, *spoiled);
            most += frames.iter().map(|liar| liar.lengths.len()).sum::<usize>();
            let at = Position { segment: id, offset: 0, lsn: header.first };
            block_on(disk.append(at, vec![bytes.into()], Sync::Yes)).unwrap();
        }
        let found: Vec<_> = Wal::salvage(disk.clone()).unwrap().take(1000).collect();
        let records = found.iter().filter(|it| matches!(it, Salvaged::Record(_))).count();
        prop_assert!(found.len() < 1000, "no end: {:?}", &found[990..]);
        prop_assert!(records <= most, "{records} records of {most}");
        match Wal::open_read_only(disk.clone()) {
            Err(Error::Lost { .. } | Error::Storage(_)) => {}
            Err(error) => prop_assert!(false, "{error}"),
            Ok(view) => {
                let reader = view.reader(view.oldest()).unwrap();
                prop_assert!(reader.take(1000).take_while(Result::is_ok).count() <= most);
                view.verify().unwrap();
            }
        }
        disk.kill();
        use_all_of(&disk);
    }
}
