//! A log on a simulated disk, for the conformance suite and its model.

use std::path::PathBuf;

use wal_core::SegmentId;
use wal_core::conformance::Place;

use super::{Fault, SimDisk};
use crate::FileStorage;

/// Where the log lies.
const LOG: &str = "/srv/log";

/// A disk with one log.
impl Place for SimDisk {
    type Storage = FileStorage;

    // Part of a test suite: it fails loudly.
    #[allow(clippy::expect_used)]
    fn open(&self) -> FileStorage {
        self.storage(LOG).expect("the directory can be made")
    }

    fn kill(&self) -> bool {
        SimDisk::kill(self);
        true
    }

    fn crash(&self) -> bool {
        SimDisk::crash(self);
        true
    }

    fn limit(&self, full: bool) -> bool {
        self.set_free(if full { 0 } else { u64::MAX });
        true
    }

    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        let (path, contents) = self.segment(segment);
        let mut contents = contents.unwrap_or_default();
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let Some(byte) = contents.get_mut(at) else {
            return false;
        };
        *byte ^= 1;
        self.put(path, contents);
        true
    }

    fn fail(&self, operations: u64) -> bool {
        self.at(operations, Fault::WriteError);
        true
    }

    fn lose(&self, segment: SegmentId) -> bool {
        let (path, contents) = self.segment(segment);
        SimDisk::lose(self, path);
        contents.is_some()
    }
}

impl SimDisk {
    fn segment(&self, segment: SegmentId) -> (PathBuf, Option<Vec<u8>>) {
        let prefix = format!("{LOG}/{:012}-", segment.get());
        let mut files = self.files().into_iter().map(|(path, _)| path);
        let path = files.find(|path| path.to_string_lossy().starts_with(&prefix));
        let path = path.unwrap_or_default();
        let contents = self.contents(&path);
        (path, contents)
    }
}
