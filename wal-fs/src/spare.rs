//! Spare segments: files whose blocks were written before, ready to become the next segment.
//!
//! Blocks that were never written cost a journal commit at each sync that first touches
//! them; blocks that hold anything do not. (Reserving blocks without writing them, as
//! `fallocate` does, gains nothing.) Spares come from two places:
//!
//! - *Recycled*: a segment that the log deletes and that has its full length gets the name of
//!   a spare instead, while fewer than two are kept. It costs nothing, and no file of 64 MiB
//!   is unlinked. Whoever moves it makes the names durable before the bytes are used
//!   again: the old name never shows new content. What it holds is no frame of any later
//!   segment, for the checksum of a frame is seeded with log, writer and segment.
//! - *Filled with zeros* in the background ([`fill`](crate::fill)), if there is no other, the
//!   log syncs nearly every frame ([`rhythm`](crate::rhythm)), and a quarter of the current
//!   segment is used: until then a recycled one may come.
//!
//! A spare outlives the process; whoever finds one makes sure that it is not a segment that a
//! crash has turned into a spare again ([`blank`]). One of the wrong length is removed, and so
//! is a name that shares its file with a segment: where a rename is two changes, a crash can
//! leave both names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::background::Background;
use crate::file_system::{Access, FileSystem, Kind, OpenFile, is_full};
use crate::fill::{blank, fill};

/// The names of spares; there are never more.
pub(crate) const NAMES: [&str; 2] = ["spare.ready", "spare.ready.2"];
/// A spare that is not full of zeros yet.
pub(crate) const BUILDING: &str = "spare.building";
/// What the names of segments end with that are deleted, and not unlinked yet.
pub(crate) const GONE: &str = ".gone";

/// The spares of one directory, and what is done in the background for them.
#[derive(Debug)]
pub(crate) struct Spares {
    shared: Arc<Shared>,
    background: Background,
}

/// What the writer and the work in the background have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How long segments are; 0 while no records were announced.
    bytes: u64,
    /// What can be used at once.
    ready: Vec<Ready>,
    /// Names that a file has or is about to get.
    claimed: Vec<&'static str>,
    building: bool,
}

#[derive(Clone, Copy, Debug)]
struct Ready {
    name: &'static str,
    bytes: u64,
}

/// Where a deleted segment went. Counts once the names are durable.
#[derive(Debug)]
pub(crate) enum Retired {
    Spare(&'static str, u64),
    Gone(PathBuf),
    Removed,
}

impl Spares {
    pub(crate) fn new(system: &Arc<dyn FileSystem>, directory: &Path) -> Self {
        Spares {
            shared: Arc::new(Shared {
                system: Arc::clone(system),
                directory: directory.to_owned(),
                state: Mutex::default(),
            }),
            background: Background::new(system),
        }
    }

    /// How long segments are; 0 if nobody has said so yet.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.shared.state.lock().bytes
    }

    /// Takes over what an earlier process left behind under one of our names.
    pub(crate) fn adopt(&self, name: &str) {
        let path = self.shared.directory.join(name);
        let Some(name) = NAMES.into_iter().find(|ours| *ours == name) else {
            return self.remove_later(path);
        };
        // Whatever it is: nothing is to take its place.
        self.shared.state.lock().claimed.push(name);
        if let Ok(bytes) = self.shared.blank(&path) {
            let mut state = self.shared.state.lock();
            state.ready.push(Ready { name, bytes });
        }
    }

    /// Segments are to be of this length from now on.
    pub(crate) fn allow(&self, bytes: u64) {
        let wrong: Vec<_> = {
            let mut state = self.shared.state.lock();
            state.bytes = bytes;
            state.ready.extract_if(.., |it| it.bytes != bytes).collect()
        };
        for spare in wrong {
            // At once, and once in a log's life: its name must not be given to another before.
            if self
                .shared
                .system
                .remove(&self.shared.directory.join(spare.name))
                .is_ok()
            {
                self.shared.unclaim(spare.name);
            }
        }
    }

    /// As [`Shared::take`].
    pub(crate) fn take(
        &self,
        path: &Path,
        bytes: u64,
    ) -> io::Result<Option<(Arc<dyn OpenFile>, u64)>> {
        self.shared.take(path, bytes)
    }

    /// What others need who work in the background.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Where they are done.
    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Begins to prepare a spare, unless there is one or one is being prepared.
    pub(crate) fn build(&self) {
        let bytes = {
            let mut state = self.shared.state.lock();
            if state.building || state.bytes == 0 || !state.ready.is_empty() {
                return;
            }
            state.building = true;
            state.bytes
        };
        let (shared, stop) = (Arc::clone(&self.shared), self.background.stop_flag());
        self.background.submit(Box::new(move || {
            // Without a spare the next segment grows as it is written: slower, not wrong.
            let built = shared.build(bytes, &stop);
            let mut state = shared.state.lock();
            state.building = false;
            if let Ok(Some(name)) = built
                && state.bytes == bytes
            {
                state.ready.push(Ready { name, bytes });
            }
        }));
    }

    fn remove_later(&self, path: PathBuf) {
        let system = Arc::clone(&self.shared.system);
        // What is left is found, and removed, by the next writer.
        let job = move || drop(system.remove(&path));
        self.background.submit(Box::new(job));
    }

    /// Waits until what was begun in the background is done: space may come back.
    pub(crate) fn settle(&self) {
        self.background.settle();
    }

    /// Ends the background work; nothing touches the directory any more.
    pub(crate) fn stop(&self) {
        *self.shared.state.lock() = State::default();
        self.background.stop();
    }
}

impl Shared {
    /// Gives a spare of at least `bytes` the name `path`, if there is one; tells its length.
    pub(crate) fn take(
        &self,
        path: &Path,
        bytes: u64,
    ) -> io::Result<Option<(Arc<dyn OpenFile>, u64)>> {
        let Shared {
            system,
            directory,
            state,
        } = self;
        loop {
            let found = {
                let mut state = state.lock();
                let at = state.ready.iter().position(|spare| spare.bytes >= bytes);
                at.map(|at| state.ready.remove(at))
            };
            let Some(spare) = found else {
                return Ok(None);
            };
            let name = directory.join(spare.name);
            // One that cannot be opened is no spare; the next open of the log looks at it again.
            let Ok(file) = system.open(&name, Access::Write) else {
                continue;
            };
            // The writer's lock keeps everyone else from creating the name in between.
            if system.stat(path).is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            match system.rename(&name, path) {
                Err(cause) if is_full(&cause) => {
                    state.lock().ready.push(spare); // no room for the longer name
                    return Err(cause);
                }
                renamed => {
                    renamed?;
                    self.unclaim(spare.name);
                    return Ok(Some((file, spare.bytes)));
                }
            }
        }
    }

    /// Takes the segment at `path` out of the log: as a spare, or under a name from which it is
    /// unlinked later. That is to be made durable, and then reported to [`Shared::retired`].
    pub(crate) fn retire(&self, path: &Path) -> io::Result<Retired> {
        if let Some(spare) = self.wanted(path) {
            let name = self.directory.join(spare.name);
            match self.system.rename(path, &name) {
                Err(cause) if is_full(&cause) => self.unclaim(spare.name),
                renamed => return renamed.map(|()| Retired::Spare(spare.name, spare.bytes)),
            }
        }
        let mut gone = path.as_os_str().to_owned();
        gone.push(GONE);
        let gone = PathBuf::from(gone);
        match self.system.rename(path, &gone) {
            // No room for a longer name: space must come back all the same (G7).
            Err(cause) if is_full(&cause) => self.system.remove(path).map(|()| Retired::Removed),
            renamed => renamed.map(|()| Retired::Gone(gone)),
        }
    }

    /// The old name is durably gone: the file may be used again, or unlinked.
    pub(crate) fn retired(&self, retired: Retired) {
        match retired {
            Retired::Spare(name, bytes) => {
                let mut state = self.state.lock();
                state.ready.push(Ready { name, bytes });
            }
            // What is left is found, and removed, by the next writer.
            Retired::Gone(path) => drop(self.system.remove(&path)),
            Retired::Removed => {}
        }
    }

    /// The spare that this segment could become.
    fn wanted(&self, path: &Path) -> Option<Ready> {
        let bytes = self.state.lock().bytes;
        let found = self.system.stat(path).ok()?;
        if bytes == 0 || found != (Kind::File, bytes) {
            return None;
        }
        let name = self.claim()?;
        Some(Ready { name, bytes })
    }

    /// Makes sure that what stands there is no segment; its length.
    fn blank(&self, path: &Path) -> io::Result<u64> {
        let file = self.system.open(path, Access::Write)?;
        blank(file.as_ref())?;
        file.length()
    }

    /// A name that no spare has.
    fn claim(&self) -> Option<&'static str> {
        let mut state = self.state.lock();
        let free = NAMES.into_iter().find(|name| !state.claimed.contains(name));
        state.claimed.extend(free);
        free
    }

    fn unclaim(&self, name: &str) {
        self.state.lock().claimed.retain(|claimed| *claimed != name);
    }

    fn build(
        &self,
        bytes: u64,
        stop: &std::sync::atomic::AtomicBool,
    ) -> io::Result<Option<&'static str>> {
        let building = self.directory.join(BUILDING);
        let file = self.system.open(&building, Access::Replace)?;
        let through = self.system.open(&building, Access::Through).ok();
        let filled = fill(file.as_ref(), through.as_deref(), bytes, stop);
        drop((file, through));
        let name = filled.is_ok().then(|| self.claim()).flatten();
        let done = match name {
            Some(name) => self.system.rename(&building, &self.directory.join(name)),
            None => filled.and(Err(io::ErrorKind::AlreadyExists.into())),
        };
        if done.is_err() {
            if let Some(name) = name {
                self.unclaim(name);
            }
            self.system.remove(&building)?; // do not keep the space that the log may need
        }
        done.map(|()| name)
    }
}
