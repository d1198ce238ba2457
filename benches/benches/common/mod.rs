//! What all benchmarks share: fresh logs, and bytes to put into them.

use std::error::Error;
use std::path::PathBuf;

use wal_core::{Options, Wal};
use wal_fs::FileStorage;

/// Whatever went wrong, the benchmark ends with it.
pub(crate) type Outcome<T> = Result<T, Box<dyn Error>>;

/// Beside the executable: there the build directory lies on a real disk more often
/// than the system's temporary directory does.
pub(crate) fn fresh_dir() -> Outcome<tempfile::TempDir> {
    let executable = std::env::current_exe()?;
    let beside: PathBuf = executable
        .parent()
        .map_or_else(std::env::temp_dir, Into::into);
    Ok(tempfile::Builder::new()
        .prefix("wal-bench-")
        .tempdir_in(beside)?)
}

/// A fresh log, and the directory that goes with it.
pub(crate) fn fresh_wal(options: Options) -> Outcome<(Wal, tempfile::TempDir)> {
    let dir = fresh_dir()?;
    let (wal, _) = Wal::open(FileStorage::open(dir.path())?, options)?;
    Ok((wal, dir))
}

/// Bytes that do not compress.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        out.extend_from_slice(&next());
    }
    out.truncate(bytes);
    out
}

/// A failed call must not pass for a fast one.
pub(crate) fn must<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|cause| {
        eprintln!("error: {cause}");
        std::process::exit(1)
    })
}
