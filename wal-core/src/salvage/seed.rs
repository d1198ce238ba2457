//! The seed of a segment's frame checksums, computed back from a frame.
//!
//! A frame header's checksum is a CRC over the seed, the offset and the header. A CRC is affine
//! in what it starts from, so for a header whose other bytes are right the seed follows from
//! the checksum, without the segment header that it was made from. Any 80 bytes give *some*
//! seed that fits: it is believed only if the frame's records, whose checksums need no seed,
//! verify, or if another frame gives the same.

use crate::checksum::crc_more;
use crate::codec::Fields;
use crate::frame::HEADER_BYTES;

/// Bytes that a header's checksum covers behind the seed: the offset and the header.
const COVERED: usize = 8 + HEADER_BYTES - 4;

/// The one seed with which the checksum of this frame header is right.
pub(super) fn seed_of(head: &[u8], offset: u64) -> Option<u32> {
    let (covered, stored) = head.split_at_checked(HEADER_BYTES - 4)?;
    let stored = Fields(stored).u32()?;
    let from_zero = crc_more(crc_more(0, &offset.to_le_bytes()), covered);
    solve(stored ^ from_zero)
}

/// The seed that changes the checksum by `difference`, whatever the bytes covered.
fn solve(difference: u32) -> Option<u32> {
    let zeros = [0; COVERED];
    let base = crc_more(0, &zeros);
    // Gauss: each row is what a set of seed bits does to the checksum, and that set.
    let mut rows: Vec<(u32, u32)> = (0..32)
        .map(|bit| (crc_more(1 << bit, &zeros) ^ base, 1 << bit))
        .collect();
    let (mut left, mut seed) = (difference, 0);
    for bit in (0..32).map(|bit| 1 << bit) {
        let at = rows.iter().position(|(effect, _)| effect & bit != 0)?;
        let (effect, bits) = rows.swap_remove(at);
        for row in rows.iter_mut().filter(|(effect, _)| effect & bit != 0) {
            *row = (row.0 ^ effect, row.1 ^ bits);
        }
        if left & bit != 0 {
            left ^= effect;
            seed ^= bits;
        }
    }
    (left == 0).then_some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Codec, FrameHeader, Kind};
    use crate::{Lsn, SegmentId};

    #[test]
    fn every_seed_is_computed_back() {
        let header = FrameHeader {
            kind: Kind::Records,
            codec: Codec::Lz4,
            begins: true,
            records: 3,
            table_crc: 77,
            payload_bytes: 12,
            first: Lsn::new(9),
            durable: Lsn::new(8),
            released: Lsn::ZERO,
            chain: 0x1234_5678_9ABC_DEF0,
            time: -5,
            segment: SegmentId::new(4),
        };
        for seed in (0..1000u32).map(|n| n.wrapping_mul(0x9E37_79B9)) {
            for offset in [160, 4096, 1 << 40] {
                let head = header.encode(seed, offset);
                assert_eq!(seed_of(&head, offset), Some(seed));
                assert_eq!(FrameHeader::decode(&head, seed, offset), Ok(header));
            }
        }
    }
}
