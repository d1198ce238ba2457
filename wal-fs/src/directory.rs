//! The names of a log: which segment is which file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use wal_core::{Lsn, SegmentId, StorageError};

use crate::file_system::{Entry, FileSystem, Kind};

/// The file name of a segment.
pub(crate) fn file_name(segment: SegmentId, first: Lsn) -> String {
    format!("{:012}-{:020}.wal", segment.get(), first.get())
}

/// The segment and first LSN that a file name stands for, if it is one of ours. Costs no
/// allocation: opening asks it for every name there is.
pub(crate) fn parse(name: &str) -> Option<(SegmentId, Lsn)> {
    let (segment, first) = name.strip_suffix(".wal")?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    // As `file_name` writes them: more than twelve digits only where they are needed.
    let canonical = segment.len() == 12 || (segment.len() > 12 && !segment.starts_with('0'));
    if !canonical || first.len() != 20 || !digits(segment) || !digits(first) {
        return None;
    }
    let (segment, first) = (segment.parse().ok()?, first.parse().ok()?);
    Some((SegmentId::new(segment), Lsn::new(first)))
}

/// The segments in `directory`, and the first LSN of each; `each` is shown every name, and
/// whether it is a segment's.
/// Reads names alone, so ten thousand segments cost some milliseconds.
pub(crate) fn segments(
    system: &dyn FileSystem,
    directory: &Path,
    mut each: impl FnMut(Entry<'_>, bool),
) -> Result<BTreeMap<SegmentId, Lsn>, StorageError> {
    let mut found = Vec::new();
    let mut refused = None;
    let listed = system.list(directory, &mut |entry| {
        let parsed = entry.name.to_str().and_then(parse);
        each(entry, parsed.is_some());
        let Some((segment, first)) = parsed else {
            return;
        };
        if entry.kind != Kind::File {
            let path = directory.join(entry.name);
            refused.get_or_insert_with(|| not_a_file(&path, entry.kind));
        }
        found.push((segment, first));
    });
    let failed = |cause| {
        StorageError::io(
            format!("reading log directory {}", directory.display()),
            cause,
        )
    };
    listed.map_err(failed)?;
    found.sort_unstable();
    if let Some((segment, one, other)) = twins(&found) {
        let path = |first| directory.join(file_name(segment, first));
        refused.get_or_insert_with(|| both_claim(segment, &path(one), &path(other)));
    }
    refused.map_or_else(|| Ok(found.into_iter().collect()), Err)
}

/// Two names for one segment, if there are.
fn twins(sorted: &[(SegmentId, Lsn)]) -> Option<(SegmentId, Lsn, Lsn)> {
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    let (one, other) = pairs.find(|(one, other)| one.0 == other.0)?;
    Some((one.0, one.1, other.1))
}

fn both_claim(segment: SegmentId, one: &Path, other: &Path) -> StorageError {
    StorageError::Conflict(format!(
        "{} and {} both claim segment {segment}; move the foreign one elsewhere",
        one.display(),
        other.display()
    ))
}

fn not_a_file(path: &Path, kind: Kind) -> StorageError {
    StorageError::Conflict(format!(
        "{} has the name of a segment and is {}; a segment is a plain file: move it elsewhere",
        path.display(),
        kind.name()
    ))
}

/// Creates the directory and what is missing above it.
pub(crate) fn create(system: &dyn FileSystem, directory: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for path in above(directory) {
        match system.stat(path) {
            Ok(_) => break,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => missing.push(path),
            Err(cause) => return Err(cause),
        }
    }
    for path in missing.into_iter().rev() {
        match system.create_directory(path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            created => created?,
        }
    }
    Ok(())
}

/// Makes the directory's own name durable, and those above it: whoever created them may have
/// been killed before it did so.
pub(crate) fn sync_name(system: &dyn FileSystem, directory: &Path) -> io::Result<()> {
    for (steps, path) in above(directory).enumerate() {
        let parent = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_owned(),
            None => break,
        };
        match system.sync_directory(&parent) {
            // What this user may not even read, this log did not create.
            Err(cause) if steps > 0 && cause.kind() == io::ErrorKind::PermissionDenied => break,
            synced => synced?,
        }
    }
    Ok(())
}

/// The directory and its ancestors, innermost first.
fn above(directory: &Path) -> impl Iterator<Item = &Path> {
    directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty())
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
            "0000000000007-00000000000000000012.wal",
            "99999999999999999999-00000000000000000012.wal",
            "x.wal",
            ".wal",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
