//! Local files keep the contract of `wal_core::storage`, and the guarantees through it.
//!
//! A crash is not simulated here: writers are dropped. The kill tests use real processes.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};

use tempfile::TempDir;
use wal_core::SegmentId;
use wal_core::conformance::Place;
use wal_fs::FileStorage;

/// A directory that vanishes with the check.
struct Directory(TempDir);

impl Place for Directory {
    type Storage = FileStorage;

    fn open(&self) -> FileStorage {
        FileStorage::open(self.0.path()).unwrap()
    }

    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        let prefix = format!("{:012}-", segment.get());
        let mut names = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap());
        let name = names.find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        let path = name.unwrap().path();
        let mut file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(&[byte[0] ^ 1]).unwrap();
        true
    }
}

wal_core::conformance!(|| Directory(tempfile::tempdir().unwrap()));
