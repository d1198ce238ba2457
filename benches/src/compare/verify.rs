//! What a sink holds: every record exactly once, or who is missing and who came twice.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Outcome};
use crate::identity::Identities;

/// Counted over all batches of a sink, by identity.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    /// Records that arrived, each counted once.
    pub(super) sunk: u64,
    /// Records that never arrived.
    pub(super) lost: u64,
    /// Records that arrived more than once.
    pub(super) repeated: u64,
    /// Lines that name no record of the data set: written to the topic since, or never.
    pub(super) strangers: u64,
}

/// Counts the identities in the finished batches below `dir`.
pub(super) fn tally(dir: &Path, identities: &Identities) -> Outcome<Tally> {
    let unreadable = |cause: std::io::Error| {
        Failure::run(format!(
            "sink {}: cannot be counted: {cause}",
            dir.display()
        ))
    };
    let records = usize::try_from(identities.len())
        .map_err(|_| Failure::run("more records than this machine can count"))?;
    let mut seen = vec![0u8; records];
    let mut tally = Tally::default();
    for file in batch_files(dir).map_err(unreadable)? {
        for line in BufReader::with_capacity(1 << 18, File::open(file).map_err(unreadable)?).lines()
        {
            let line = line.map_err(unreadable)?;
            let number = identities
                .number_of(&line)
                .and_then(|number| usize::try_from(number).ok());
            match number.and_then(|number| seen.get_mut(number)) {
                Some(times) => *times = times.saturating_add(1),
                None => tally.strangers += 1,
            }
        }
    }
    for times in seen {
        match times {
            0 => tally.lost += 1,
            1 => tally.sunk += 1,
            _ => {
                tally.sunk += 1;
                tally.repeated += 1;
            }
        }
    }
    Ok(tally)
}

/// Batches that were finished; what is still being written has another name.
fn batch_files(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        // Killed before the sink was there.
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(cause),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| is_batch(&name.to_string_lossy()))
        {
            files.push(path);
        }
    }
    Ok(files)
}

fn is_batch(name: &str) -> bool {
    name.starts_with("batch-") && !name.ends_with(".tmp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, lines) in files {
            fs::write(dir.path().join(name), lines).unwrap();
        }
        dir
    }

    #[test]
    fn lost_and_repeated_are_told_apart() {
        let dir = sink(&[
            ("batch-0", "0\n1\n2\n"),
            ("batch-1", "2\n4\n4\n4\n"),
            ("batch-2", ""),
        ]);
        let found = tally(dir.path(), &Identities::Sequence(6)).unwrap();
        assert_eq!(
            found,
            Tally {
                sunk: 4,
                lost: 2,
                repeated: 2,
                strangers: 0
            }
        );
    }

    #[test]
    fn unfinished_batches_do_not_count_and_strangers_are_named() {
        let dir = sink(&[("batch-0", "0\n7\nno key\n"), ("batch-1.tmp", "1\n")]);
        let found = tally(dir.path(), &Identities::Sequence(2)).unwrap();
        assert_eq!(
            found,
            Tally {
                sunk: 1,
                lost: 1,
                repeated: 0,
                strangers: 2
            }
        );
    }

    #[test]
    fn a_sink_that_never_was_has_lost_everything() {
        let dir = tempfile::tempdir().unwrap();
        let found = tally(&dir.path().join("absent"), &Identities::Sequence(3)).unwrap();
        assert_eq!(
            found,
            Tally {
                lost: 3,
                ..Tally::default()
            }
        );
    }
}
