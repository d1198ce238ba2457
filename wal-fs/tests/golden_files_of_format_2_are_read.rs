//! G11: files that format 2 wrote are read for ever, with what version 1 lacked: named holds,
//! footers, compressed frames, a truncation.
//!
//! The decoder below follows `docs/FORMAT.md` and shares no code with the crates.

use std::fs;
use std::path::{Path, PathBuf};

use wal_core::{Compression, Location, Lsn, Options, Receipt, Wal};
use wal_fs::FileStorage;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-2")
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 16 << 10,
        append_bytes: 32 << 10,
        watermark_delay: None,
        compression: Compression::Lz4,
        ..Options::default()
    }
}

fn payload(lsn: u64) -> Vec<u8> {
    let length = usize::try_from(lsn % 7 * 1000).unwrap();
    let mut payload = format!("record {lsn} ").into_bytes();
    // Every third record does not compress.
    let mut noise = lsn | 1;
    while payload.len() < length {
        noise = noise.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        payload.push(if lsn.is_multiple_of(3) {
            (noise >> 40) as u8
        } else {
            b'.'
        });
    }
    payload
}

const RECORDS: u64 = 60;
const TRUNCATED_TO: u64 = 40;

/// Run once, when format 2 was made: `cargo test -p wal-fs -- --ignored write_golden`.
#[test]
#[ignore = "writes the golden files; they are never written again"]
fn write_golden_files() {
    let dir = golden();
    fs::create_dir_all(&dir).unwrap();
    let (wal, _) = Wal::open(FileStorage::open(&dir).unwrap(), options()).unwrap();
    wal.set_hold("indexer", Lsn::new(0)).unwrap();
    let append = |from: u64, to: u64| {
        let mut next = from;
        while next < to {
            let group: Vec<_> = (next..to.min(next + 3)).map(payload).collect();
            next += group.len() as u64;
            wal.commit(group.iter().collect::<wal_core::Append>())
                .unwrap();
        }
    };
    append(0, TRUNCATED_TO + 2);
    wal.truncate(Lsn::new(TRUNCATED_TO)).unwrap();
    append(TRUNCATED_TO, RECORDS);
    wal.set_hold("backup", Lsn::new(3)).unwrap();
    let kept = [
        wal.receipt().to_bytes(),
        wal.locate(Lsn::new(6)).unwrap().to_bytes(),
        wal.locate(Lsn::new(50)).unwrap().to_bytes(),
    ];
    fs::write(dir.join("receipt-and-locations"), kept.concat()).unwrap();
    wal.close().unwrap();
    for file in segments(&dir) {
        let mut bytes = fs::read(&file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes.truncate(used.next_multiple_of(4096));
        fs::write(file, bytes).unwrap();
    }
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".wal") && name != "receipt-and-locations" {
            fs::remove_file(&path).unwrap();
        }
    }
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wal"));
    files.sort();
    files
}

#[test]
fn the_current_code_reads_and_continues_them() {
    let dir = tempfile::tempdir().unwrap();
    for file in segments(&golden()) {
        fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    let kept = fs::read(golden().join("receipt-and-locations")).unwrap();
    let kept: Vec<[u8; 32]> = kept.chunks(32).map(|it| it.try_into().unwrap()).collect();
    let receipt = Receipt::from_bytes(&kept[0]);
    let options = Options {
        receipt: Some(receipt),
        ..options()
    };
    let (wal, recovery) = Wal::open(FileStorage::open(dir.path()).unwrap(), options).unwrap();
    assert!(recovery.clean);
    assert_eq!(recovery.end, Lsn::new(RECORDS));
    let holds: Vec<_> = recovery.holds.iter().collect();
    let expected =
        [("backup", 3), ("indexer", 0)].map(|(name, lsn)| (name.to_owned(), Lsn::new(lsn)));
    assert_eq!(
        holds,
        expected
            .iter()
            .map(|(name, lsn)| (name, lsn))
            .collect::<Vec<_>>()
    );
    for record in wal.reader(Lsn::ZERO).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.payload, payload(record.lsn.get()));
        assert_eq!(wal.get(record.lsn).unwrap(), record);
    }
    for (location, lsn) in kept[1..].iter().zip([6, 50]) {
        let location = Location::from_bytes(location);
        assert_eq!(wal.read_at(&location).unwrap(), payload(lsn));
    }
    assert_eq!(wal.commit("new").unwrap().start, Lsn::new(RECORDS));
}

#[test]
fn every_byte_is_what_the_document_says() {
    let (mut kinds, mut packed, mut truncations, mut lsn) = ([0; 6], 0, 0, 0);
    let mut chain = vec![0];
    for file in segments(&golden()) {
        let bytes = fs::read(file).unwrap();
        assert_eq!(bytes[..8], *b"\x89WALseg\n");
        assert_eq!(u16_at(&bytes, 8), 2, "version");
        assert_eq!(
            crc(&[&bytes[..156]]),
            u32_at(&bytes, 156),
            "header checksum"
        );
        let first = u64_at(&bytes, 64);
        if u16_at(&bytes, 10) == 1 {
            truncations += 1;
            assert_eq!(u64_at(&bytes, 112), TRUNCATED_TO, "copied until");
        }
        lsn = first;
        chain.truncate(usize::try_from(first).unwrap() + 1);
        assert_eq!(u64_at(&bytes, 72), *chain.last().unwrap(), "chain");
        let (mut offset, mut index) = (4096, Vec::new());
        while offset < bytes.len() && bytes[offset..offset + 4] == *b"WALf" {
            let frame = &bytes[offset..];
            let seed = [&bytes[16..32], &bytes[32..48], &bytes[56..64]].concat();
            let at = (offset as u64).to_le_bytes();
            assert_eq!(
                crc(&[&seed, &at, &frame[..76]]),
                u32_at(frame, 76),
                "frame checksum"
            );
            let (kind, codec, flags) = (frame[4], frame[5], frame[6]);
            kinds[usize::from(kind)] += 1;
            let records = u32_at(frame, 8) as usize;
            let stored = usize::try_from(u64_at(frame, 16)).unwrap();
            let table = &frame[80..80 + records * 8];
            let body = &frame[80 + records * 8..80 + records * 8 + stored];
            let begins = offset < 3 * 4096 && (offset == 4096 || index.is_empty());
            assert!(flags == 0 || (flags == 1 && begins), "flags");
            assert_eq!(u64_at(frame, 24), lsn, "first LSN");
            assert_eq!(u64_at(frame, 48), *chain.last().unwrap(), "chain");
            if kind == 1 {
                assert_eq!(crc(&[table]), u32_at(frame, 12), "table checksum");
                index.push((lsn, offset as u64, u64_at(frame, 56)));
                let lengths = table.chunks(8).map(|entry| u32_at(entry, 0) as usize);
                let plain = match codec {
                    0 => body.to_vec(),
                    _ => unpack(body),
                };
                packed += usize::from(codec);
                assert_eq!(plain.len(), lengths.clone().sum::<usize>(), "lengths");
                let mut rest = plain.as_slice();
                for entry in table.chunks(8) {
                    let (length, sum) = (u32_at(entry, 0), u32_at(entry, 4));
                    let (record, after) = rest.split_at(length as usize);
                    rest = after;
                    if lsn < TRUNCATED_TO || truncations > 0 {
                        assert_eq!(record, payload(lsn));
                    }
                    assert_eq!(crc(&[&lsn.to_le_bytes(), record]), sum, "record checksum");
                    let word = (u64::from(length) << 32) | u64::from(sum);
                    let word = mix(word.wrapping_add(0x9E37_79B9_7F4A_7C15));
                    chain.push(mix(chain.last().unwrap() ^ word));
                    lsn += 1;
                }
            } else {
                assert_eq!((records, codec), (0, 0));
                assert_eq!(crc(&[body]), u32_at(frame, 12), "attachment checksum");
                check_attachment(kind, body, &index, &seed, offset as u64);
            }
            offset += (80 + records * 8 + stored).next_multiple_of(4096);
        }
    }
    assert_eq!((lsn, truncations), (RECORDS, 1));
    assert!(
        packed > 3 && kinds[1] > 20 && kinds[3] == 1 && kinds[4] > 0 && kinds[5] > 3,
        "{kinds:?}"
    );
}

fn check_attachment(kind: u8, bytes: &[u8], index: &[(u64, u64, u64)], seed: &[u8], offset: u64) {
    if kind == 2 {
        return assert!(bytes.is_empty());
    }
    let mut at = 4;
    for _ in 0..u32_at(bytes, 0) {
        let length = usize::from(bytes[at + 8]);
        let name = std::str::from_utf8(&bytes[at + 9..at + 9 + length]).unwrap();
        let expected = if name == "backup" { 3 } else { 0 };
        assert_eq!(u64_at(bytes, at), expected, "{name}");
        at += 9 + length;
    }
    if kind == 5 {
        return assert_eq!(bytes[at..], [0], "no footer");
    }
    assert_eq!(bytes[at], 1, "a footer");
    assert_eq!(u64_at(bytes, at + 1), index.len() as u64, "frames");
    assert_eq!(u32_at(bytes, at + 25) as usize, index.len(), "entries");
    for (entry, (lsn, place, time)) in index.iter().enumerate() {
        let entry = at + 29 + entry * 24;
        assert_eq!(u64_at(bytes, entry), *lsn);
        assert_eq!(u64_at(bytes, entry + 8), *place);
        assert_eq!(u64_at(bytes, entry + 16), *time);
    }
    let trailer = &bytes[bytes.len() - 16..];
    assert_eq!((80 + bytes.len()) % 4096, 0, "the trailer ends on a block");
    assert_eq!(
        (u64_at(trailer, 0), &trailer[8..12]),
        (offset, &b"WALe"[..])
    );
    assert_eq!(
        crc(&[seed, &trailer[..12]]),
        u32_at(trailer, 12),
        "trailer checksum"
    );
}

/// One LZ4 block, after its public description.
fn unpack(mut block: &[u8]) -> Vec<u8> {
    fn more(block: &mut &[u8], nibble: u8) -> usize {
        let mut length = usize::from(nibble);
        let mut last = if nibble == 15 { 255 } else { 0 };
        while last == 255 {
            last = block[0];
            *block = &block[1..];
            length += usize::from(last);
        }
        length
    }
    let mut out = Vec::new();
    while let Some((token, rest)) = block.split_first() {
        block = rest;
        let literals = more(&mut block, token >> 4);
        out.extend_from_slice(&block[..literals]);
        block = &block[literals..];
        if block.is_empty() {
            break;
        }
        let back = usize::from(u16_at(block, 0));
        block = &block[2..];
        for _ in 0..more(&mut block, token & 15) + 4 {
            out.push(out[out.len() - back]);
        }
    }
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn crc(parts: &[&[u8]]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82F6_3B78 * (sum & 1))
        })
    };
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    value = (value ^ (value >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    value ^ (value >> 33)
}
