//! The next segment, as the log announces it: a spare gets its name, and the name becomes durable, beside
//! the commit before. A segment then begins with two syncs, its first frame's and the seal's,
//! instead of three.
//!
//! Until its first frame is there the file is, to every reader, a segment without a header, as one that a
//! kill leaves at that moment. If the log goes on elsewhere it is made a spare again, durably, before
//! another file gets the segment's number.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use wal_core::planted::planted;
use wal_core::{Position, StorageError};

use super::{FileStorage, Outcome, Writing, sync_names};
use crate::directory;
use crate::file_system::{Access, FileSystem};
use crate::segment_file::SegmentFile;
use crate::spare;

/// Who names what is announced: a thread, for to start one costs as much as a commit.
#[derive(Debug)]
pub(super) struct Announced {
    namer: Arc<Namer>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Namer {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    spares: Arc<spare::Shared>,
    slot: Mutex<Slot>,
    news: Condvar,
}

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Wanted(Position),
    BeingMade,
    Made(Position, Made),
    /// The log ends.
    Stopped,
}

/// What has become of an announcement.
#[derive(Debug)]
enum Made {
    /// A file whose name is durable.
    Named(SegmentFile),
    /// There was no spare, or it could not be renamed; whether it has the name is in doubt then.
    Nothing { doubtful: bool },
    /// The directory could not be synced.
    Failed(StorageError),
}

impl FileStorage {
    pub(super) fn announce_now(&self, at: Position) {
        // Without a spare, all that can be done is done as well later. And a name that is not durable
        // must not get a successor.
        let taken = self.names.lock().contains_key(&at.segment);
        let doubtful = self.writing.lock().unsynced_names;
        if !taken && !doubtful && self.spares.has_one() {
            self.announced.ask_for(at);
        }
    }

    /// The file for a segment that begins now, if it was announced and made.
    pub(super) fn take_announced(
        &self,
        writing: &mut Writing,
        at: Position,
        bytes: u64,
    ) -> Outcome<Option<SegmentFile>> {
        match self.announced.take() {
            None => Ok(None),
            Some((place, Made::Named(file))) if place == at && file.has_room(bytes) => {
                self.names.lock().insert(at.segment, at.lsn);
                Ok(Some(file))
            }
            Some((_, Made::Named(_))) if planted("announced-name-left-behind") => Ok(None),
            Some((place, Made::Named(_))) => self.give_back(place).map(|()| None),
            Some((_, Made::Nothing { doubtful })) => {
                writing.unsynced_names |= doubtful;
                Ok(None)
            }
            Some((_, Made::Failed(cause))) => Err(cause),
        }
    }

    /// The log ends, and what was announced does not come.
    pub(super) fn take_back_announced(&self) {
        if let Some((place, Made::Named(_))) = self.announced.stop() {
            // What is left is a segment without a header, which the next open deletes.
            let _ = self.give_back(place);
        }
    }

    /// Durably takes the name away.
    fn give_back(&self, at: Position) -> Outcome<()> {
        let spares = self.spares.shared();
        let retired = spares.retire(&self.path(at.segment, at.lsn));
        let retired = retired.map_err(|cause| self.broken("renaming", at.segment, cause))?;
        self.sync_names()?;
        spares.retired(retired);
        Ok(())
    }
}

impl Announced {
    pub(super) fn new(
        system: &Arc<dyn FileSystem>,
        directory: &Path,
        spares: Arc<spare::Shared>,
    ) -> Self {
        let namer = Namer {
            system: Arc::clone(system),
            directory: directory.to_owned(),
            spares,
            slot: Mutex::default(),
            news: Condvar::new(),
        };
        Announced {
            namer: Arc::new(namer),
            thread: Mutex::default(),
        }
    }

    /// Does nothing while an earlier announcement was not taken.
    fn ask_for(&self, at: Position) {
        let namer = &self.namer;
        {
            let mut slot = namer.slot.lock();
            if !matches!(*slot, Slot::Empty) {
                return;
            }
            *slot = Slot::Wanted(at);
        }
        if !namer.system.has_threads() {
            let _ = namer.once();
            return;
        }
        namer.news.notify_all();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let namer = Arc::clone(namer);
            // If there is none to be had, what is wanted is taken back when it is to be used.
            let work = Box::new(move || while namer.once() {});
            let spawned = self.namer.system.spawn("wal-namer", work);
            *thread = spawned.unwrap_or_default();
        }
    }

    /// What was announced last. Waits for what is being made; what nobody has begun with is given up.
    fn take(&self) -> Option<(Position, Made)> {
        let mut slot = self.namer.slot.lock();
        while matches!(*slot, Slot::BeingMade) {
            self.namer.news.wait(&mut slot);
        }
        match std::mem::take(&mut *slot) {
            Slot::Made(at, made) => Some((at, made)),
            _ => None,
        }
    }

    /// As `take`; afterwards nothing touches the directory any more.
    fn stop(&self) -> Option<(Position, Made)> {
        let last = self.take();
        *self.namer.slot.lock() = Slot::Stopped;
        self.namer.news.notify_all();
        let thread = self.thread.lock().take();
        let _ = thread.map(JoinHandle::join); // it does not panic
        *self.namer.slot.lock() = Slot::Empty;
        last
    }
}

impl Namer {
    /// Waits for one that is wanted, and makes it; `false` when the log ends.
    fn once(&self) -> bool {
        let at = {
            let mut slot = self.slot.lock();
            loop {
                match *slot {
                    Slot::Wanted(at) => {
                        *slot = Slot::BeingMade;
                        break at;
                    }
                    Slot::Stopped => return false,
                    _ => self.news.wait(&mut slot),
                }
            }
        };
        let made = self.make(at);
        *self.slot.lock() = Slot::Made(at, made);
        self.news.notify_all();
        true
    }

    fn make(&self, at: Position) -> Made {
        let name = directory::file_name(at.segment, at.lsn);
        let path = self.directory.join(name);
        let (file, bytes) = match self.spares.take(&path, 0) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Made::Nothing { doubtful: false },
            Err(_) => return Made::Nothing { doubtful: true },
        };
        if !planted("announced-name-not-synced")
            && let Err(cause) = sync_names(self.system.as_ref(), &self.directory)
        {
            return Made::Failed(cause);
        }
        let mut file = SegmentFile::new(file, bytes, bytes);
        file.set_through(self.system.open(&path, Access::Through).ok());
        Made::Named(file)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
