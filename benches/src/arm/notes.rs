//! Notes for a power cut: files that a child appends to and its parent reads after the
//! kill. A line is one write; what was written is in the page cache and survives
//! SIGKILL, which is all that the trial needs. A last line that was cut short does
//! not count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wal_core::{SegmentId, StorageError};
use wal_streaming::Positions;

use crate::failure::{Failure, Outcome};
use crate::kafka::Committed;

/// What was synced: lines `SEGMENT END`.
#[derive(Debug)]
pub(super) struct SyncedNotes {
    file: File,
    path: PathBuf,
    written: BTreeMap<SegmentId, u64>,
}

impl SyncedNotes {
    pub(super) fn create(path: &Path) -> Result<Self, StorageError> {
        let file = File::create(path).map_err(|cause| failed(path, cause))?;
        Ok(SyncedNotes {
            file,
            path: path.to_owned(),
            written: BTreeMap::new(),
        })
    }

    /// Each segment of `covered` is durable up to its end.
    pub(super) fn add(&mut self, covered: &BTreeMap<SegmentId, u64>) -> Result<(), StorageError> {
        let mut lines = String::new();
        for (&segment, &end) in covered {
            if self.written.get(&segment).is_none_or(|&known| known < end) {
                self.written.insert(segment, end);
                lines.push_str(&format!("{segment} {end}\n"));
            }
        }
        self.file
            .write_all(lines.as_bytes())
            .map_err(|cause| failed(&self.path, cause))
    }
}

fn failed(path: &Path, cause: io::Error) -> StorageError {
    StorageError::io(path.display().to_string(), cause)
}

/// What was acknowledged: lines `PARTITION NEXT-OFFSET`.
#[derive(Debug)]
pub(super) struct AcknowledgedNotes {
    file: File,
    path: PathBuf,
}

impl AcknowledgedNotes {
    pub(super) fn create(path: &Path) -> Outcome<Self> {
        let file = File::create(path)
            .map_err(|cause| Failure::log(format!("{}: {cause}", path.display())))?;
        Ok(AcknowledgedNotes {
            file,
            path: path.to_owned(),
        })
    }

    /// Everything below `positions` is acknowledged.
    pub(super) fn add(&mut self, positions: &Positions) -> wal_streaming::Result<()> {
        let line = |(partition, next): (&wal_streaming::Partition, u64)| {
            format!("{} {next}\n", partition.index())
        };
        let lines: String = positions.iter().map(line).collect();
        self.file
            .write_all(lines.as_bytes())
            .map_err(|cause| wal_streaming::Error::File {
                path: self.path.clone(),
                cause,
            })
    }
}

/// One past the last synced byte of each segment.
pub(crate) fn read_synced(path: &Path) -> io::Result<BTreeMap<u64, u64>> {
    read(path)
}

/// The next offset of each partition that was acknowledged.
pub(crate) fn read_acknowledged(path: &Path) -> io::Result<Vec<Committed>> {
    let places = read(path)?.into_iter().filter_map(|(partition, offset)| {
        Some(Committed {
            partition: u32::try_from(partition).ok()?,
            offset,
        })
    });
    Ok(places.collect())
}

/// For each key the highest value of its lines.
fn read(path: &Path) -> io::Result<BTreeMap<u64, u64>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut highest = BTreeMap::<u64, u64>::new();
    for (key, value) in whole.lines().filter_map(|line| line.split_once(' ')) {
        if let (Ok(key), Ok(value)) = (key.parse(), value.parse()) {
            let known = highest.entry(key).or_insert(value);
            *known = value.max(*known);
        }
    }
    Ok(highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_streaming::Partition;

    #[test]
    fn notes_are_read_back_without_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        let mut notes = AcknowledgedNotes::create(&path).unwrap();
        for next in [5, 12] {
            let mut positions = Positions::default();
            positions.advance(&Partition::new("t", 3), next);
            notes.add(&positions).unwrap();
        }
        notes.file.write_all(b"3 99").unwrap();
        let read = read_acknowledged(&path).unwrap();
        assert_eq!(
            read,
            [Committed {
                partition: 3,
                offset: 12
            }]
        );
    }

    #[test]
    fn what_was_synced_only_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes");
        let mut notes = SyncedNotes::create(&path).unwrap();
        let one = SegmentId::new(1);
        for end in [4_096, 8_192, 4_096] {
            notes.add(&BTreeMap::from([(one, end)])).unwrap();
        }
        assert_eq!(read_synced(&path).unwrap(), BTreeMap::from([(1, 8_192)]));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1 4096\n1 8192\n");
    }
}
