//! A directory of the harness's own for logs, checkpoints and sinks; gone at the end.
//!
//! Nothing that was there before is opened, so nothing can be lost. A run that was
//! itself killed leaves its directory behind; the next run removes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use wal_core::Wal;
use wal_fs::FileStorage;

use crate::failure::{Failure, Outcome};

const PREFIX: &str = "wal-benches-run-";

/// Locked as long as it lives.
pub(crate) struct Workspace {
    dir: PathBuf,
    _lock: File,
    keep: bool,
}

impl Workspace {
    /// A fresh directory in `base`, or beside the executable: there the build directory
    /// lies on a real disk more often than the system's temporary directory does.
    pub(crate) fn open(base: Option<&Path>) -> Outcome<Workspace> {
        match base {
            Some(base) => Workspace::open_in(base),
            None => beside_executable()
                .and_then(|base| Workspace::open_in(&base).ok())
                .map_or_else(|| Workspace::open_in(&std::env::temp_dir()), Ok),
        }
    }

    fn open_in(base: &Path) -> Outcome<Workspace> {
        let unusable = |cause: std::io::Error| {
            Failure::log(format!(
                "log directory {}: {cause}; name a directory that can be written with --dir",
                base.display()
            ))
        };
        fs::create_dir_all(base).map_err(unusable)?;
        refuse_log(base)?;
        remove_abandoned(base);
        let dir = base.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&dir).map_err(unusable)?;
        let lock = File::create(dir.join("lock")).map_err(unusable)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|cause| unusable(cause.into()))?;
        Ok(Workspace {
            dir,
            _lock: lock,
            keep: false,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// A fresh sub-directory.
    pub(crate) fn create(&self, name: &str) -> Outcome<PathBuf> {
        let dir = self.dir.join(name);
        let created = fs::create_dir(&dir);
        created
            .map_err(|cause| Failure::log(format!("log directory {}: {cause}", dir.display())))?;
        Ok(dir)
    }

    /// Frees the space of a sub-directory that is not needed any more.
    pub(crate) fn remove(&self, dir: &Path) {
        // What cannot be removed now is tried again at the end.
        let _ = fs::remove_dir_all(dir);
    }

    /// Leaves everything in place, as evidence.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Without its lock a directory does not count as abandoned.
        let _ = match self.keep {
            true => fs::remove_file(self.dir.join("lock")),
            false => fs::remove_dir_all(&self.dir),
        };
    }
}

fn beside_executable() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.to_owned())
}

/// Somebody's log is not a place for measurements. Says what it is: in use, damaged,
/// of a newer format, or simply there.
fn refuse_log(base: &Path) -> Outcome<()> {
    let place = |what: String| Failure::log(format!("log directory {}: {what}", base.display()));
    let entries =
        fs::read_dir(base).map_err(|cause| place(format!("{cause}; name another with --dir")))?;
    let is_log = |entry: fs::DirEntry| entry.path().extension().is_some_and(|it| it == "wal");
    if !entries.filter_map(Result::ok).any(is_log) {
        return Ok(());
    }
    let storage = FileStorage::open(base)?;
    if let Some(writer) = storage.writer()? {
        return Err(place(format!(
            "a log that {writer} is writing; name another with --dir"
        )));
    }
    let found = Wal::inspect(storage).map_err(|error| {
        place(format!(
            "{error}; it was left as it is, name another with --dir"
        ))
    })?;
    Err(place(format!(
        "holds a log of {} records and was left as it is; name another with --dir",
        found.end.since(found.oldest)
    )))
}

/// Directories of earlier runs whose lock nobody holds.
fn remove_abandoned(base: &Path) {
    let Ok(entries) = fs::read_dir(base) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let lock = || File::open(entry.path().join("lock")).ok();
        if ours
            && lock()
                .is_some_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok())
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_a_log_is_left_alone() {
        let base = tempfile::tempdir().unwrap();
        let log = base.path().join("000000000001-00000000000000000000.wal");
        fs::write(&log, "precious").unwrap();
        let failure = Workspace::open(Some(base.path())).err().unwrap();
        assert_eq!(failure.exit_code(), 5);
        assert_eq!(fs::read_to_string(log).unwrap(), "precious");
    }

    #[test]
    fn a_log_in_use_or_damaged_or_of_a_newer_format_is_named() {
        let base = tempfile::tempdir().unwrap();
        let refusal = || {
            Workspace::open(Some(base.path()))
                .err()
                .unwrap()
                .to_string()
        };
        let storage = FileStorage::open(base.path()).unwrap();
        let (wal, _) = Wal::open(storage, wal_core::Options::default()).unwrap();
        for _ in 0..3 {
            wal.commit("precious").unwrap();
        }
        let in_use = format!("process {} is writing", std::process::id());
        assert!(refusal().contains(&in_use), "{}", refusal());
        wal.close().unwrap();
        assert!(
            refusal().contains("holds a log of 3 records"),
            "{}",
            refusal()
        );

        let file = base.path().join("000000000001-00000000000000000000.wal");
        let bytes = fs::read(&file).unwrap();
        let mut damaged = bytes.clone();
        damaged[20] ^= 1; // within the segment header
        fs::write(&file, &damaged).unwrap();
        assert!(refusal().contains("are lost"), "{}", refusal());
        assert_eq!(fs::read(&file).unwrap(), damaged, "left as it was");

        let mut newer = bytes;
        newer[8] = 99;
        let sum = crc32c(&newer[..156]).to_le_bytes();
        newer[156..160].copy_from_slice(&sum);
        fs::write(&file, &newer).unwrap();
        assert!(refusal().contains("format version 99"), "{}", refusal());
    }

    fn crc32c(bytes: &[u8]) -> u32 {
        let step = |sum: u32, byte: &u8| {
            (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
                (sum >> 1) ^ (0x82F6_3B78 * (sum & 1))
            })
        };
        !bytes.iter().fold(u32::MAX, step)
    }

    #[test]
    fn only_abandoned_directories_are_removed() {
        let base = tempfile::tempdir().unwrap();
        let abandoned = base.path().join(format!("{PREFIX}1"));
        let foreign = base.path().join("foreign");
        fs::create_dir_all(&abandoned).unwrap();
        fs::write(abandoned.join("lock"), "").unwrap();
        fs::create_dir(&foreign).unwrap();
        let used = Workspace::open(Some(base.path())).unwrap();
        remove_abandoned(base.path());
        assert!(!abandoned.exists() && foreign.exists() && used.path().exists());
        drop(used);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 1);
    }

    #[test]
    fn evidence_is_kept() {
        let base = tempfile::tempdir().unwrap();
        let mut used = Workspace::open(Some(base.path())).unwrap();
        let evidence = used.create("kill-1").unwrap();
        used.keep();
        drop(used);
        remove_abandoned(base.path());
        assert!(evidence.exists());
    }
}
