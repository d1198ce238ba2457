//! The next segment, as the log announces it: a spare gets its name before the commit that goes before it,
//! and the name becomes durable beside that commit and the segment's first frame. A segment then begins
//! with two syncs one after the other, its first frame's and the seal's, instead of three.
//!
//! Until its first frame is there the file is, to every reader, a segment without a header, as one that a
//! kill leaves at that moment. If the log goes on elsewhere it is made a spare again, durably, before
//! another file gets the segment's number.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, MutexGuard};
use wal_core::Position;
use wal_core::planted::planted;

use super::{FileStorage, Outcome, sync_names};
use crate::file_system::{Access, FileSystem};
use crate::segment_file::SegmentFile;

/// The file that was made for what was announced, and who makes its name durable: a thread, for to
/// start one costs as much as a commit.
#[derive(Debug)]
pub(super) struct Announced {
    file: Mutex<Option<(Position, SegmentFile)>>,
    namer: Arc<Namer>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Namer {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    name: Mutex<Name>,
    news: Condvar,
}

/// How far the newest name is.
#[derive(Debug, Default)]
enum Name {
    /// Durable, as far as anybody knows.
    #[default]
    Settled,
    Made,
    BeingSynced,
    Synced(Outcome<()>),
    /// The log ends.
    Stopped,
}

impl FileStorage {
    pub(super) fn announce_now(&self, at: Position) {
        // Without a spare, all that can be done is done as well later. And a name that is not durable
        // must not get a successor.
        let mut writing = self.writing.lock();
        let taken = self.names.lock().contains_key(&at.segment);
        if taken || writing.unsynced_names || !self.announced.is_settled() {
            return;
        }
        let path = self.path(at.segment, at.lsn);
        match self.spares.take(&path, 0) {
            Ok(None) => {}
            Ok(Some((file, bytes))) => {
                file.touch();
                let mut file = SegmentFile::new(file, bytes, bytes);
                file.set_through(self.system.open(&path, Access::Through).ok());
                self.announced.is_named(at, file);
            }
            // Whether it has the name is in doubt.
            Err(_) => writing.unsynced_names = true,
        }
    }

    /// The file for a segment that begins now, if it was announced and made. Its name may not be
    /// durable before [`announced_name`](Self::announced_name) has said so.
    pub(super) fn take_announced(&self, at: Position, bytes: u64) -> Outcome<Option<SegmentFile>> {
        match self.announced.file.lock().take() {
            None => Ok(None),
            Some((place, file)) if place == at && file.has_room(bytes) => {
                self.names.lock().insert(at.segment, at.lsn);
                Ok(Some(file))
            }
            Some(_) if planted("announced-name-left-behind") => Ok(None),
            Some((place, _)) => self.give_back(place).map(|()| None),
        }
    }

    /// Waits until the name of the file that was taken is durable.
    pub(super) fn announced_name(&self) -> Outcome<()> {
        match planted("announced-name-not-waited-for") {
            true => Ok(()),
            false => self.announced.namer.wait(),
        }
    }

    /// The log ends, and what was announced does not come.
    pub(super) fn take_back_announced(&self) {
        self.announced.stop();
        if let Some((place, _)) = self.announced.file.lock().take() {
            // What is left is a segment without a header, which the next open deletes.
            let _ = self.give_back(place);
        }
    }

    /// Durably takes the name away.
    fn give_back(&self, at: Position) -> Outcome<()> {
        self.announced_name()?;
        let spares = self.spares.shared();
        let retired = spares.retire(&self.path(at.segment, at.lsn));
        let retired = retired.map_err(|cause| self.broken("renaming", at.segment, cause))?;
        self.sync_names()?;
        spares.retired(retired);
        Ok(())
    }
}

impl Announced {
    pub(super) fn new(system: &Arc<dyn FileSystem>, directory: &Path) -> Self {
        let namer = Namer {
            system: Arc::clone(system),
            directory: directory.to_owned(),
            name: Mutex::default(),
            news: Condvar::new(),
        };
        Announced {
            file: Mutex::default(),
            namer: Arc::new(namer),
            thread: Mutex::default(),
        }
    }

    fn is_settled(&self) -> bool {
        matches!(*self.namer.name.lock(), Name::Settled)
    }

    /// This file has its name, which is to become durable.
    fn is_named(&self, at: Position, file: SegmentFile) {
        *self.file.lock() = Some((at, file));
        let namer = &self.namer;
        *namer.name.lock() = Name::Made;
        namer.news.notify_all();
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let namer = Arc::clone(namer);
            let work = Box::new(move || while namer.once() {});
            *thread = self.namer.system.spawn("wal-namer", work);
        }
        // Where there are no threads: at once, or by who waits for it. Beside a thread both happen.
        if thread.is_none() && at.segment.get().is_multiple_of(2) {
            namer.sync();
        }
    }

    /// Afterwards nothing touches the directory any more.
    fn stop(&self) {
        let _ = self.namer.wait();
        *self.namer.name.lock() = Name::Stopped;
        self.namer.news.notify_all();
        let thread = self.thread.lock().take();
        let _ = thread.map(JoinHandle::join); // it does not panic
        *self.namer.name.lock() = Name::Settled;
    }
}

impl Namer {
    /// Waits for a name, and makes it durable; `false` when the log ends.
    fn once(&self) -> bool {
        {
            let mut name = self.name.lock();
            loop {
                match *name {
                    Name::Made => break,
                    Name::Stopped => return false,
                    _ => self.news.wait(&mut name),
                }
            }
        }
        self.sync();
        true
    }

    /// Waits until the newest name is durable. Nobody has begun with it: then that is done here.
    fn wait(&self) -> Outcome<()> {
        let mut name = self.name.lock();
        loop {
            match *name {
                Name::Settled | Name::Stopped => return Ok(()),
                Name::Made => MutexGuard::unlocked(&mut name, || self.sync()),
                Name::BeingSynced => self.news.wait(&mut name),
                Name::Synced(_) => {
                    if let Name::Synced(outcome) = std::mem::take(&mut *name) {
                        return outcome;
                    }
                }
            }
        }
    }

    /// Makes the name durable, unless somebody else has begun to.
    fn sync(&self) {
        {
            let mut name = self.name.lock();
            if !matches!(*name, Name::Made) {
                return;
            }
            *name = Name::BeingSynced;
        }
        let synced = match planted("announced-name-not-synced") {
            true => Ok(()),
            false => sync_names(self.system.as_ref(), &self.directory),
        };
        *self.name.lock() = Name::Synced(synced);
        self.news.notify_all();
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.stop();
    }
}
