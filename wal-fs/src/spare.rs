//! A segment prepared ahead of use, in the background.
//!
//! Blocks that were never written cost a journal commit at each sync that first
//! touches them; blocks that hold zeros do not. So while a log is synced often, its next
//! segment is written full of zeros beforehand. Only that counts: reserving blocks without
//! writing them (`fallocate`) gains nothing. A log that is synced once per megabyte gains
//! nothing either, and would pay for every byte twice: it gets no spare.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::file_system::{Access, FileSystem, OpenFile, write_full};

const CHUNK: usize = 1 << 20;

/// At most one spare, named `spare.ready`; `spare.building` until it is whole.
#[derive(Debug)]
pub(crate) struct Spare {
    system: Arc<dyn FileSystem>,
    directory: PathBuf,
    work: Mutex<Work>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Work {
    /// 0: none is wanted.
    bytes: u64,
    builder: Option<JoinHandle<()>>,
}

impl Spare {
    pub(crate) fn new(system: &Arc<dyn FileSystem>, directory: &Path) -> Self {
        Spare {
            system: Arc::clone(system),
            directory: directory.to_owned(),
            work: Mutex::default(),
            stop: Arc::default(),
        }
    }

    /// How long segments are; 0 if nobody has said so yet.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.work.lock().bytes
    }

    /// Spares are to be of this size.
    pub(crate) fn allow(&self, bytes: u64) {
        self.stop.store(false, Ordering::Relaxed);
        self.work.lock().bytes = bytes;
    }

    /// Gives the spare the name `path`, if one is ready.
    pub(crate) fn take(&self, path: &Path) -> io::Result<Option<Arc<dyn OpenFile>>> {
        if self.work.lock().bytes == 0 {
            return Ok(None);
        }
        let ready = self.directory.join("spare.ready");
        let file = match self.system.open(&ready, Access::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The writer's lock keeps everyone else from creating the name in between.
        if self.system.stat(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.system.rename(&ready, path)?;
        Ok(Some(file))
    }

    /// Stops building and waits until nothing touches the directory any more.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let builder = {
            let mut work = self.work.lock();
            work.bytes = 0;
            work.builder.take()
        };
        if let Some(builder) = builder {
            let _ = builder.join(); // it does not panic
        }
    }

    /// Begins to prepare a spare, unless there is one or one is being prepared.
    pub(crate) fn build(&self) {
        let mut work = self.work.lock();
        let busy = work
            .builder
            .as_ref()
            .is_some_and(|builder| !builder.is_finished());
        if busy || work.bytes == 0 {
            return;
        }
        let (directory, bytes) = (self.directory.clone(), work.bytes);
        let (system, stop) = (Arc::clone(&self.system), Arc::clone(&self.stop));
        // Without a spare the next segment grows as it is written: slower, not wrong. So
        // neither a failed build nor a failed spawn is an error.
        let job = Box::new(move || {
            let _ = build(system.as_ref(), &directory, bytes, &stop);
        });
        work.builder = self.system.spawn(job).ok().flatten();
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.stop();
    }
}

fn build(
    system: &dyn FileSystem,
    directory: &Path,
    bytes: u64,
    stop: &AtomicBool,
) -> io::Result<()> {
    let ready = directory.join("spare.ready");
    if system.stat(&ready).is_ok_and(|(_, found)| found == bytes) {
        return Ok(());
    }
    let building = directory.join("spare.building");
    let file = system.open(&building, Access::Replace)?;
    let done = fill(file.as_ref(), bytes, stop).and_then(|()| system.rename(&building, &ready));
    if done.is_err() {
        system.remove(&building)?; // do not keep the space that the log may need
    }
    done
}

fn fill(file: &dyn OpenFile, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; CHUNK];
    let mut done = 0;
    while done < bytes {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = usize::try_from(bytes - done).unwrap_or(CHUNK).min(CHUNK);
        let zeros = zeros.get(..length).unwrap_or_default();
        write_full(file, &mut [IoSlice::new(zeros)], done)?;
        done += length as u64;
    }
    file.sync_data()
}
