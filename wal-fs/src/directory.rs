//! The names of a log: which segment is which file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use wal_core::{Lsn, SegmentId, StorageError};

use crate::os::sync_directory;

/// The file name of a segment.
pub(crate) fn file_name(segment: SegmentId, first: Lsn) -> String {
    format!("{:012}-{:020}.wal", segment.get(), first.get())
}

/// The segment and first LSN that a file name stands for, if it is one of ours.
fn parse(name: &str) -> Option<(SegmentId, Lsn)> {
    let (segment, first) = name.strip_suffix(".wal")?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if segment.len() < 12 || first.len() != 20 || !digits(segment) || !digits(first) {
        return None;
    }
    let (segment, first) = (segment.parse().ok()?, first.parse().ok()?);
    let (segment, first) = (SegmentId::new(segment), Lsn::new(first));
    (file_name(segment, first) == name).then_some((segment, first))
}

/// The segments in `directory`, and the first LSN of each.
pub(crate) fn segments(directory: &Path) -> Result<BTreeMap<SegmentId, Lsn>, StorageError> {
    let context = || format!("reading log directory {}", directory.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|cause| StorageError::io(context(), cause))? {
        let entry = entry.map_err(|cause| StorageError::io(context(), cause))?;
        let Some((segment, first)) = entry.file_name().to_str().and_then(parse) else {
            continue;
        };
        if let Some(twin) = found.insert(segment, first) {
            return Err(StorageError::Conflict(format!(
                "{} and {} both claim segment {segment}; move the foreign one elsewhere",
                directory.join(file_name(segment, twin)).display(),
                entry.path().display()
            )));
        }
    }
    Ok(found)
}

/// Creates the directory, with a durable name.
pub(crate) fn create(directory: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .collect();
    fs::create_dir_all(directory)?;
    for created in missing {
        match created.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent)?,
            _ => sync_directory(Path::new("."))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_not_ours() {
        let name = file_name(SegmentId::new(7), Lsn::new(12));
        assert_eq!(name, "000000000007-00000000000000000012.wal");
        assert_eq!(parse(&name), Some((SegmentId::new(7), Lsn::new(12))));
        let large = file_name(SegmentId::new(u64::MAX), Lsn::MAX);
        assert_eq!(parse(&large), Some((SegmentId::new(u64::MAX), Lsn::MAX)));
        for other in [
            "LOCK",
            "7-12.wal",
            "+00000000007-00000000000000000012.wal",
            "x.wal",
            ".wal",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
