//! G11: files that an earlier version wrote are read for ever.
//!
//! `tests/golden/format-1` holds a log of four segments as format 1 wrote it (zeros at
//! the end cut off). The decoder below follows `docs/FORMAT.md` and shares no code with
//! the crates, so that neither document nor code can drift alone.

use std::fs;
use std::path::{Path, PathBuf};

use wal_core::{Durability, Lsn, Options, Wal};
use wal_fs::FileStorage;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 4 << 10,
        append_bytes: 32 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

fn payload(lsn: u64) -> Vec<u8> {
    format!("record {lsn} ")
        .repeat(usize::try_from(lsn % 5).unwrap())
        .into_bytes()
}

const RECORDS: u64 = 40;

/// Run once, when format 1 was made: `cargo test -p wal-fs -- --ignored write_golden`.
#[test]
#[ignore = "writes the golden files; they are never written again"]
fn write_golden_files() {
    let dir = golden();
    fs::create_dir_all(&dir).unwrap();
    let (wal, _) = Wal::open(FileStorage::open(&dir).unwrap(), options()).unwrap();
    for lsn in 0..RECORDS - 2 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.release(Lsn::new(1)).unwrap();
    wal.close().unwrap();
    let (wal, _) = Wal::open(FileStorage::open(&dir).unwrap(), options()).unwrap();
    let last = [payload(RECORDS - 2), payload(RECORDS - 1)];
    wal.append_with(last, Durability::Accepted)
        .unwrap()
        .wait()
        .unwrap();
    wal.close().unwrap();
    for file in segments(&dir) {
        let mut bytes = fs::read(&file).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        bytes.truncate(used.next_multiple_of(4096));
        fs::write(file, bytes).unwrap();
    }
    for name in ["LOCK", "spare.ready"] {
        let _ = fs::remove_file(dir.join(name));
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
    let (wal, recovery) = Wal::open(FileStorage::open(dir.path()).unwrap(), options()).unwrap();
    assert!(recovery.clean);
    assert_eq!(
        (recovery.oldest, recovery.end),
        (Lsn::new(1), Lsn::new(RECORDS))
    );
    for record in wal.reader(Lsn::new(1)).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.payload, payload(record.lsn.get()));
    }
    assert_eq!(wal.commit("new").unwrap().start, Lsn::new(RECORDS));
}

#[test]
fn every_byte_is_what_the_document_says() {
    let mut expected_lsn = 0;
    let mut chain = 0;
    let mut kinds = [0; 5];
    for (index, file) in segments(&golden()).iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        assert_eq!(bytes[..8], *b"\x89WALseg\n");
        assert_eq!(u16_at(&bytes, 8), 1, "version");
        assert_eq!(u16_at(&bytes, 10), 0, "flags");
        assert_eq!(u32_at(&bytes, 12), 4096, "alignment");
        assert_eq!(u64_at(&bytes, 56), index as u64 + 1, "segment");
        assert_eq!(u64_at(&bytes, 64), expected_lsn, "first LSN");
        assert_eq!(u64_at(&bytes, 72), chain, "chain");
        assert_eq!(u64_at(&bytes, 80), index as u64, "previous segment");
        assert!(bytes[128..156].iter().all(|byte| *byte == 0), "reserved");
        assert_eq!(
            u32_at(&bytes, 156),
            crc(&[&bytes[..156]]),
            "header checksum"
        );
        let name = format!("{:012}-{expected_lsn:020}.wal", index + 1);
        assert_eq!(file.file_name().unwrap().to_str().unwrap(), name);

        let seed = [&bytes[16..32], &bytes[32..48], &bytes[56..64]].concat();
        let mut offset = 4096;
        while offset < bytes.len() && bytes[offset..offset + 4] == *b"WALf" {
            let frame = &bytes[offset..];
            let place = (offset as u64).to_le_bytes();
            assert_eq!(
                u32_at(frame, 76),
                crc(&[&seed, &place, &frame[..76]]),
                "at {offset}"
            );
            kinds[usize::from(frame[4])] += 1;
            assert_eq!(frame[5..8], [0; 3]);
            let records = usize::try_from(u32_at(frame, 8)).unwrap();
            let table = &frame[80..80 + records * 8];
            assert_eq!(u32_at(frame, 12), crc(&[table]), "table checksum");
            assert_eq!(u64_at(frame, 24), expected_lsn, "first LSN");
            let seal = frame[4] == 4; // written once its successor is durable, and says so
            assert!(seal || u64_at(frame, 32) <= expected_lsn, "durable");
            assert_eq!(u64_at(frame, 48), chain, "chain");
            assert_eq!(u64_at(frame, 64), index as u64 + 1, "segment");
            assert_eq!(frame[72..76], [0; 4], "reserved");
            let mut at = 80 + records * 8;
            for entry in table.chunks(8) {
                let (length, sum) = (u32_at(entry, 0), u32_at(entry, 4));
                let record = &frame[at..at + length as usize];
                assert_eq!(record, payload(expected_lsn));
                assert_eq!(
                    sum,
                    crc(&[&expected_lsn.to_le_bytes(), record]),
                    "record checksum"
                );
                chain = mix(chain
                    ^ mix(((u64::from(length) << 32) | u64::from(sum))
                        .wrapping_add(0x9E37_79B9_7F4A_7C15)));
                expected_lsn += 1;
                at += length as usize;
            }
            assert_eq!(
                u64_at(frame, 16),
                (at - 80 - records * 8) as u64,
                "payload bytes"
            );
            let end = at.next_multiple_of(4096);
            assert!(frame[at..end].iter().all(|byte| *byte == 0), "padding");
            offset += end;
        }
        assert_eq!(offset, bytes.len(), "nothing follows the last frame");
    }
    assert_eq!(expected_lsn, RECORDS);
    assert!(
        kinds[1] > 0 && kinds[3] == 2 && kinds[4] > 0,
        "records, closes, seals: {kinds:?}"
    );
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
