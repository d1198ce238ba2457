//! Right checksums over contents that lie: written from `docs/FORMAT.md`, not from the code.

use crc32c::{crc32c, crc32c_append};

const HEADER: usize = 160;
const FRAME: usize = 80;

/// The newest version that the code reads.
pub const VERSION: u16 = 2;

/// Gives a segment's header, and whatever looks like a frame in it, the checksums that they
/// should have.
pub fn repair(segment: &mut [u8]) {
    if segment.len() < HEADER {
        return;
    }
    let sum = crc32c(&segment[..HEADER - 4]);
    segment[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
    let seed = crc32c(&segment[16..48]);
    let seed = crc32c_append(seed, &segment[56..64]);
    let mut at = HEADER;
    while at + FRAME <= segment.len() {
        if &segment[at..at + 4] == b"WALf" {
            frame(segment, at, seed);
        }
        at += 1;
    }
}

fn frame(segment: &mut [u8], at: usize, seed: u32) {
    let kind = segment[at + 4];
    let number = |from: usize| {
        let bytes = segment[from..from + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    let records = usize::try_from(number(at + 8) & 0xffff_ffff).unwrap_or(usize::MAX);
    let (payload, first) = (number(at + 16), number(at + 24));
    let rest = segment.len() - at - FRAME;
    let covered = match kind {
        1 => records.saturating_mul(8),
        _ => usize::try_from(payload).unwrap_or(usize::MAX),
    };
    if covered <= rest {
        if kind == 1 && segment[at + 5] == 0 {
            table(segment, at + FRAME, records, first);
        }
        let sum = crc32c(&segment[at + FRAME..at + FRAME + covered]);
        segment[at + 12..at + 16].copy_from_slice(&sum.to_le_bytes());
    }
    let sum = crc32c_append(seed, &(at as u64).to_le_bytes());
    let sum = crc32c_append(sum, &segment[at..at + FRAME - 4]);
    segment[at + FRAME - 4..at + FRAME].copy_from_slice(&sum.to_le_bytes());
}

fn table(segment: &mut [u8], at: usize, records: usize, first: u64) {
    let mut from = at + records * 8;
    for index in 0..records {
        let entry = at + index * 8;
        let length = u32::from_le_bytes(segment[entry..entry + 4].try_into().unwrap_or_default());
        let to = from.saturating_add(length as usize);
        let Some(record) = segment.get(from..to) else {
            return;
        };
        let lsn = first.wrapping_add(index as u64);
        let sum = crc32c_append(crc32c(&lsn.to_le_bytes()), record);
        segment[entry + 4..entry + 8].copy_from_slice(&sum.to_le_bytes());
        from = to;
    }
}

/// The version of a segment's header, if its magic and checksum are right.
pub fn version(segment: &[u8]) -> Option<u16> {
    let header = segment.get(..HEADER)?;
    let sum = u32::from_le_bytes(header[HEADER - 4..].try_into().ok()?);
    let sound = header.starts_with(b"\x89WALseg\n") && sum == crc32c(&header[..HEADER - 4]);
    sound.then(|| u16::from_le_bytes([header[8], header[9]]))
}
