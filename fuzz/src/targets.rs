//! Each target takes any bytes; it panics if a promise is broken.

pub mod bucket;
pub mod checkpoint;
pub mod directory;
pub mod envelope;
pub mod histories_disk;
pub mod histories_storage;
pub mod salvage;
pub mod segments;
mod stored;

/// A target: its name, its body, and how many bytes it may use for each byte of its input,
/// besides [`CONSTANT`].
pub struct Target {
    /// As `fuzz_targets/` and `corpus/` call it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// `None`: it makes its own logs, as large as it likes.
    pub bytes_for_each: Option<usize>,
}

/// What a target may use whatever its input.
pub const CONSTANT: usize = 24 << 20;

/// All of them. (An LZ4 block may hold 255 times its own length, and is read by several.)
pub const TARGETS: [Target; 8] = [
    target("histories_storage", histories_storage::run, None),
    target("histories_disk", histories_disk::run, None),
    target("directory", directory::run, Some(1024)),
    target("segments", segments::run, Some(1024)),
    target("salvage", salvage::run, Some(1024)),
    target("bucket", bucket::run, Some(1024)),
    target("checkpoint", checkpoint::run, Some(1024)),
    target("envelope", envelope::run, Some(1024)),
];

const fn target(name: &'static str, run: fn(&[u8]), bytes_for_each: Option<usize>) -> Target {
    Target {
        name,
        run,
        bytes_for_each,
    }
}
