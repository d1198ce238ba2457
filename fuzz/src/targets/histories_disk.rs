//! Histories of a log in files, on the simulated disk, against the same model.

use arbitrary::Unstructured;
use wal_fs::sim::{Metadata, SimDisk};

/// One history.
pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let seed = bytes.arbitrary().unwrap_or(0);
    let metadata = match bytes.arbitrary() {
        Ok(true) => Metadata::Strict,
        _ => Metadata::Journalled,
    };
    let disk = SimDisk::new(seed, metadata);
    disk.noise(bytes.arbitrary().unwrap_or(false));
    super::histories_storage::history(disk, &mut bytes);
}
