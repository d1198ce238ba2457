//! The machine that the figures belong to.

use std::fs::read_to_string;
use std::path::Path;

use serde::Serialize;

use crate::memory::first_touch;

/// Without these a figure says nothing.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Environment {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: Option<u64>,
    /// Microseconds for a page of memory at its first touch.
    pub(crate) page_micros: Option<f64>,
    pub(crate) kernel: String,
    pub(crate) log_dir: String,
    pub(crate) file_system: String,
    pub(crate) broker: String,
    pub(crate) bucket: String,
    pub(crate) version: &'static str,
    pub(crate) rustc: &'static str,
    pub(crate) profile: &'static str,
}

impl Environment {
    pub(crate) fn of(log_dir: &Path, broker: String, bucket: String) -> Environment {
        Environment {
            cpu: field("/proc/cpuinfo", "model name")
                .unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: meminfo_bytes("MemTotal"),
            page_micros: first_touch(),
            kernel: kernel(),
            log_dir: log_dir.display().to_string(),
            file_system: file_system(log_dir),
            broker,
            bucket,
            version: env!("CARGO_PKG_VERSION"),
            rustc: env!("WAL_BENCHES_RUSTC"),
            profile: if cfg!(debug_assertions) {
                "debug: figures mean nothing"
            } else {
                "release"
            },
        }
    }

    /// A file system in memory syncs for free, and survives no power cut.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

fn kernel() -> String {
    let release = read_to_string("/proc/sys/kernel/osrelease");
    let release = release.as_deref().map_or("unknown version", str::trim);
    format!("{} {release}", std::env::consts::OS)
}

/// A line of what the system says about its memory, as `MemTotal`.
pub(crate) fn meminfo_bytes(name: &str) -> Option<u64> {
    let found = field("/proc/meminfo", name)?;
    let kibibytes: u64 = found.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// What stands after `name :` in a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    value.filter(|value| !value.is_empty())
}

/// The type of the file system that holds `dir`.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    type_of_longest(&mounts, &dir).unwrap_or_else(|| "unknown".into())
}

/// Of all mounts above `dir` the deepest holds it; of several there the last.
fn type_of_longest(mounts: &str, dir: &Path) -> Option<String> {
    let candidates = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = Path::new(left.split(' ').nth(4)?);
        let depth = point.components().count();
        dir.starts_with(point)
            .then(|| (depth, right.split(' ').next().unwrap_or_default()))
    });
    candidates
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_counts() {
        let mounts = "22 1 254:0 / / rw shared:1 - ext4 /dev/vda rw\n\
                      30 22 0:26 / /tmp rw - tmpfs tmpfs rw\n\
                      31 22 0:27 / /tmpdata rw - xfs /dev/vdb rw\n";
        let kind = |dir: &str| type_of_longest(mounts, Path::new(dir)).unwrap();
        assert_eq!(
            (kind("/work").as_str(), kind("/tmp/x").as_str()),
            ("ext4", "tmpfs")
        );
        assert_eq!(kind("/tmpdata/x"), "xfs");
    }
}
