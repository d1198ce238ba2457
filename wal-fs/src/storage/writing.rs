//! What a writer does with segments: beginning, appending, syncing, letting go.

use std::collections::btree_map::Entry;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use wal_core::planted::planted;
use wal_core::{Position, SegmentId, StorageError, Sync};

use super::{FileStorage, Outcome, Writing};
use crate::file_system::{Access, is_full};
use crate::segment_file::SegmentFile;

impl FileStorage {
    pub(super) fn append_now(&self, at: Position, frame: &[Bytes], sync: Sync) -> Outcome<()> {
        let mut writing = self.writing.lock();
        let bytes = frame.iter().map(|part| part.len() as u64).sum();
        if at.offset == 0 {
            self.begin(&mut writing, at, bytes)?;
        }
        if at.segment >= writing.deleted_before {
            self.write(&mut writing, at, frame, bytes, sync)?;
        }
        if at.offset == 0 {
            self.announced_name()?;
        }
        match sync {
            Sync::Yes => self.sync_all(&mut writing),
            Sync::No => Ok(()),
        }
    }

    /// Makes room for the first frame of a new segment.
    fn begin(&self, writing: &mut Writing, at: Position, bytes: u64) -> Outcome<()> {
        let announced = self.take_announced(at, bytes)?;
        // So that a crash leaves at most the newest name in doubt.
        if writing.unsynced_names {
            self.sync_all(writing)?;
        }
        let file = match announced {
            Some(file) => file,
            None => {
                let file = self.create(at, bytes, !writing.prepared);
                writing.unsynced_names = true; // also a name that was made and taken back
                let mut file = file?;
                let through = self
                    .system
                    .open(&self.path(at.segment, at.lsn), Access::Through);
                file.set_through(through.ok()); // without it commits are slower, not wrong
                file
            }
        };
        // The seal of the segment just left behind may still come; older ones are done
        // once they are synced.
        while writing.files.len() > 1 {
            let Some((id, mut old)) = writing.files.pop_first() else {
                break;
            };
            old.sync()
                .map_err(|cause| self.broken("syncing", id, cause))?;
        }
        writing.files.insert(at.segment, file);
        Ok(())
    }

    fn write(
        &self,
        writing: &mut Writing,
        at: Position,
        frame: &[Bytes],
        bytes: u64,
        sync: Sync,
    ) -> Outcome<()> {
        let newest = writing.files.last_key_value().map(|(id, _)| *id);
        // Else a sync has to follow in any case, and does for both.
        let clean = writing.files.values().all(|file| !file.is_dirty());
        let followed = at.segment.get() <= self.followed.load(Ordering::Relaxed);
        let file = match writing.files.entry(at.segment) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(place) => place.insert(self.reopen(at.segment)?),
        };
        // Before the first byte: what does not fit is `Full`, and nothing is broken.
        file.allocate(at.offset.saturating_add(bytes))
            .map_err(|cause| self.error("allocating", at.segment, cause))?;
        let through = sync == Sync::Yes && clean && !followed;
        let written = through && {
            let written = file.append_through(at.offset, frame, &mut writing.buffer);
            written.map_err(|cause| self.broken("writing", at.segment, cause))?
        };
        if !written {
            if sync == Sync::Yes {
                file.prepare_for(bytes);
            }
            file.append(at.offset, frame)
                .map_err(|cause| self.broken("writing", at.segment, cause))?;
        }
        if sync == Sync::No {
            file.begin_writing_back()
                .map_err(|cause| self.broken("writing back", at.segment, cause))?;
        }
        // The seal of the segment before is always synced.
        if newest == Some(at.segment) {
            writing.rhythm.frame(sync == Sync::Yes);
        }
        // A quarter into the segment: until then, one that is deleted may become the next.
        if writing.rhythm.is_steady() && file.end() >= self.spares.segment_bytes() / 4 {
            self.spares.build();
        }
        Ok(())
    }

    /// The segment that an earlier writer left, for its seal.
    fn reopen(&self, segment: SegmentId) -> Outcome<SegmentFile> {
        let first = self.names.lock().get(&segment).copied();
        let Some(first) = first else {
            return Err(StorageError::NotFound(format!("segment {segment}")));
        };
        let path = self.path(segment, first);
        let opened = self.system.open(&path, Access::Write);
        let opened = opened.and_then(|file| Ok((file.length()?, file)));
        let (length, file) = opened.map_err(|cause| self.error("opening", segment, cause))?;
        Ok(SegmentFile::new(file, length, length))
    }

    /// A file for a new segment, with all the space that it will need; `Full` if there is none.
    /// Recovery begins with a new one, and on a full disk may use what was kept back.
    fn create(&self, at: Position, bytes: u64, recovery: bool) -> Outcome<SegmentFile> {
        let path = self.path(at.segment, at.lsn);
        // Not held while the file is made: a deletion may be under way, and may have to be waited for.
        if self.names.lock().contains_key(&at.segment) {
            let taken = format!("segment {} exists already", at.segment);
            return Err(StorageError::Conflict(taken));
        }
        let created = if recovery {
            self.create_for_recovery(&path, bytes)
        } else {
            self.create_for_records(&path, bytes)
        };
        let file = created.map_err(|cause| self.error("creating", at.segment, cause))?;
        self.names.lock().insert(at.segment, at.lsn);
        Ok(file)
    }

    fn create_for_records(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        if let Some((file, bytes)) = self.spares.take(path, bytes)? {
            return Ok(SegmentFile::new(file, bytes, bytes));
        }
        self.allocate_new(path, bytes).or_else(|cause| {
            if !is_full(&cause) {
                return Err(cause);
            }
            // What was deleted may not be unlinked yet.
            self.spares.settle();
            self.allocate_new(path, bytes)
        })
    }

    fn create_for_recovery(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        self.allocate_new(path, bytes).or_else(|cause| {
            if !is_full(&cause) {
                return Err(cause);
            }
            if let Some((file, bytes)) = self.spares.take(path, bytes)? {
                return Ok(SegmentFile::new(file, bytes, bytes));
            }
            let (file, allocated) = self.reserve.take(path, bytes).map_err(|_| cause)?;
            Ok(SegmentFile::new(file, allocated, 0))
        })
    }

    fn allocate_new(&self, path: &Path, bytes: u64) -> io::Result<SegmentFile> {
        let file = self.system.open(path, Access::CreateNew)?;
        let mut file = SegmentFile::new(file, 0, 0);
        let allocated = file.allocate(bytes.max(self.spares.segment_bytes()));
        if allocated.is_err() {
            self.system.remove(path)?;
        }
        allocated.map(|()| file)
    }

    /// Data first, then names: a name that is durable never shows less than its first frame.
    pub(super) fn sync_all(&self, writing: &mut Writing) -> Outcome<()> {
        for (id, file) in writing.files.iter_mut().filter(|(_, file)| file.is_dirty()) {
            file.sync()
                .map_err(|cause| self.broken("syncing", *id, cause))?;
        }
        if writing.unsynced_names && !planted("directory-not-synced") {
            self.sync_names()?;
            writing.unsynced_names = false;
        }
        Ok(())
    }

    pub(super) fn sync_names(&self) -> Outcome<()> {
        super::sync_names(self.system.as_ref(), &self.directory)
    }

    /// Removes one segment. It never becomes a spare: its number may be given out again.
    pub(super) fn delete_now(&self, segment: SegmentId) -> Outcome<()> {
        let first = self.names.lock().get(&segment).copied();
        let Some(first) = first else {
            return Ok(());
        };
        let removed = self.system.remove(&self.path(segment, first));
        removed.map_err(|cause| self.error("deleting", segment, cause))?;
        self.names.lock().remove(&segment);
        self.reading.forget(segment);
        self.sync_names()
    }
}
