//! Takes from a log's files what a power cut would have taken: everything after the last
//! sync. What the log had merely handed to the operating system reads as zeros, and a
//! segment of which nothing was ever synced is gone, name and all.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use crate::arm::read_synced;
use crate::failure::{Failure, Outcome};

/// Cuts the log in `dir` back to what `notes` say was synced; tells how many bytes that
/// were not zero it took.
pub(super) fn cut(dir: &Path, notes: &Path) -> Outcome<u64> {
    let failed = |path: &Path, cause: io::Error| {
        Failure::log(format!("power cut: {}: {cause}", path.display()))
    };
    let synced = read_synced(notes).map_err(|cause| failed(notes, cause))?;
    let mut taken = 0;
    for entry in fs::read_dir(dir).map_err(|cause| failed(dir, cause))? {
        let path = entry.map_err(|cause| failed(dir, cause))?.path();
        if let Some(segment) = segment_of(&path) {
            taken += cut_segment(&path, synced_end(&synced, segment))
                .map_err(|cause| failed(&path, cause))?;
        }
    }
    Ok(taken)
}

/// The number of the segment that a file holds: `NUMBER-LSN.wal`.
fn segment_of(path: &Path) -> Option<u64> {
    if path.extension()? != "wal" {
        return None;
    }
    path.file_stem()?.to_str()?.split('-').next()?.parse().ok()
}

fn synced_end(synced: &BTreeMap<u64, u64>, segment: u64) -> u64 {
    synced.get(&segment).copied().unwrap_or(0)
}

fn cut_segment(path: &Path, end: u64) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let taken = zero_after(&mut file, end)?;
    file.sync_all()?;
    if end == 0 {
        fs::remove_file(path)?;
    }
    Ok(taken)
}

/// Overwrites with zeros from `end` on; counts the bytes that were not.
fn zero_after(file: &mut File, end: u64) -> io::Result<u64> {
    const CHUNK: usize = 1 << 20;
    let zeros = vec![0u8; CHUNK];
    let mut chunk = vec![0u8; CHUNK];
    let mut at = end;
    let mut taken = 0;
    loop {
        file.seek(SeekFrom::Start(at))?;
        let read = io::Read::read(file, &mut chunk)?;
        let Some((found, zeros)) = chunk.get(..read).zip(zeros.get(..read)) else {
            return Ok(taken);
        };
        if read == 0 {
            return Ok(taken);
        }
        let written = found.iter().filter(|byte| **byte != 0).count();
        if written > 0 {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(zeros)?;
        }
        taken += written as u64;
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_synced_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        fs::write(file("000000000001-00000000000000000000.wal"), [1u8; 100]).unwrap();
        fs::write(file("000000000002-00000000000000000050.wal"), [2u8; 100]).unwrap();
        fs::write(file("000000000003-00000000000000000090.wal"), [3u8; 100]).unwrap();
        fs::write(file("lock"), "kept").unwrap();
        // The last line was cut short by the kill.
        fs::write(file("notes"), "1 60\n1 100\n2 40\n3 9").unwrap();

        assert_eq!(cut(dir.path(), &file("notes")).unwrap(), 60 + 100);

        assert_eq!(
            fs::read(file("000000000001-00000000000000000000.wal")).unwrap(),
            [1u8; 100]
        );
        let second = fs::read(file("000000000002-00000000000000000050.wal")).unwrap();
        assert_eq!(
            (&second[..40], &second[40..]),
            ([2u8; 40].as_slice(), [0u8; 60].as_slice())
        );
        assert!(!file("000000000003-00000000000000000090.wal").exists());
        assert_eq!(fs::read(file("lock")).unwrap(), b"kept");
    }
    /// What a log of files holds after everything unsynced was taken from it.
    #[test]
    fn a_log_that_was_cut_holds_what_was_synced_and_nothing_else() {
        use crate::arm::Ledger;
        use wal_core::{Durability, Lsn, Options, Wal};
        use wal_fs::FileStorage;

        let base = tempfile::tempdir().unwrap();
        let (dir, notes) = (base.path().join("log"), base.path().join("notes"));
        let storage = Ledger::new(FileStorage::open(&dir).unwrap(), &notes).unwrap();
        let (wal, _) = Wal::open(
            storage,
            Options {
                watermark_delay: None,
                ..Options::default()
            },
        )
        .unwrap();
        wal.commit("durable").unwrap();
        wal.append_with("accepted, then synced", Durability::Accepted)
            .unwrap()
            .wait()
            .unwrap();
        wal.sync().unwrap();
        wal.append_with("accepted only", Durability::Accepted)
            .unwrap()
            .wait()
            .unwrap();

        // As a kill leaves it: copied while the log is open.
        let copy = base.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&dir).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
        assert!(cut(&copy, &notes).unwrap() > 0);

        let (wal, _) = Wal::open(FileStorage::open(&copy).unwrap(), Options::default()).unwrap();
        let records = wal
            .reader(Lsn::ZERO)
            .unwrap()
            .map(|record| record.unwrap().payload);
        assert_eq!(
            records.collect::<Vec<_>>(),
            ["durable", "accepted, then synced"]
        );
    }
}
