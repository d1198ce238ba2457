//! The seam over a simulated disk: every call may be the one at which something happens.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::disk::{BLOCK, Disk, Extent, InodeId};
use super::{Fault, Metadata};
use crate::file_system::{Access, Entry, FileSystem, Kind, OpenFile};

/// A process that uses the disk.
#[derive(Clone, Debug)]
pub(super) struct Process {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

/// What a call is, for those who plan faults.
struct Call<'a> {
    name: &'static str,
    about: &'a dyn std::fmt::Debug,
    /// It changes something.
    changes: bool,
    /// It may need space.
    grows: bool,
}

impl Process {
    pub(super) fn new(disk: Arc<Mutex<Disk>>, life: u64) -> Self {
        Process { disk, life }
    }

    /// Performs a call, or what was planned for it; `spoil` is what it leaves when it fails.
    fn call<T>(
        &self,
        call: &Call<'_>,
        perform: impl FnOnce(&mut Disk) -> io::Result<T>,
        spoil: impl FnOnce(&mut Disk),
    ) -> io::Result<T> {
        let mut disk = self.disk.lock();
        let disk = &mut *disk;
        if disk.life != self.life {
            return Err(gone());
        }
        let now = disk.calls;
        disk.note(call.name, call.about);
        let fault = disk
            .plan
            .take_if(|(at, fault)| *at <= now && fault.strikes(call.name));
        disk.struck = fault.map(|_| call.name).or(disk.struck);
        match fault.map(|(_, fault)| fault) {
            Some(fault @ (Fault::Crash | Fault::Kill)) => {
                if disk.random.one_in(2) {
                    let _ = perform(disk);
                }
                match fault {
                    Fault::Crash => disk.crash(),
                    _ => disk.kill(),
                }
                return Err(gone());
            }
            Some(Fault::Error | Fault::WriteError) => {
                spoil(disk);
                return Err(io::Error::from_raw_os_error(5)); // EIO
            }
            Some(Fault::NoSpace) if call.grows => return Err(io::ErrorKind::StorageFull.into()),
            Some(Fault::NoSpace) | None => {}
            Some(Fault::Full) => disk.capacity = disk.used(),
            Some(Fault::ReadOnly) => disk.refusal = Some(io::ErrorKind::ReadOnlyFilesystem),
            Some(Fault::Denied) => disk.refusal = Some(io::ErrorKind::PermissionDenied),
        }
        match disk.refusal.filter(|_| call.changes) {
            Some(refusal) => Err(refusal.into()),
            None => perform(disk),
        }
    }

    fn look<T>(
        &self,
        name: &'static str,
        about: &dyn std::fmt::Debug,
        perform: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call {
            name,
            about,
            changes: false,
            grows: false,
        };
        self.call(&call, perform, |_| {})
    }

    fn change<T>(
        &self,
        name: &'static str,
        about: &dyn std::fmt::Debug,
        grows: bool,
        perform: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call {
            name,
            about,
            changes: true,
            grows,
        };
        self.call(&call, perform, |_| {})
    }
}

fn gone() -> io::Error {
    io::Error::other("this process has ended, or its machine has lost power")
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is a directory")
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

impl FileSystem for Process {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change("create_directory", &path, true, |disk| {
            disk.directory(parent(path))?;
            if disk.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let id = disk.new_inode(true);
            disk.rename_all(id, vec![(path.to_owned(), Some(id))], true);
            Ok(())
        })
    }

    fn list(&self, path: &Path, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<()> {
        self.look("list", &path, |disk| {
            disk.directory(path)?;
            for (name, id) in disk.names.iter().filter(|(name, _)| parent(name) == path) {
                let is_directory = disk.inodes.get(id).is_some_and(|it| it.is_directory);
                each(Entry {
                    name: name.file_name().unwrap_or_default(),
                    kind: if is_directory {
                        Kind::Directory
                    } else {
                        Kind::File
                    },
                    file: Some(*id),
                });
            }
            Ok(())
        })
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let call = Call {
            name: "sync_directory",
            about: &path,
            changes: false,
            grows: false,
        };
        let perform = |disk: &mut Disk| {
            disk.directory(path)?;
            disk.sync_names(path);
            Ok(())
        };
        self.call(&call, perform, |disk| {
            // A journal that cannot be written stops the file system; without one, the next
            // sync finds nothing to do, and new names are lost. (Not those of directories, or
            // nothing could help the log. And what was removed stays so.)
            let directories: Vec<_> = disk.directories().collect();
            let stuck = disk.metadata == Metadata::Strict;
            for change in &mut disk.pending {
                change.stuck |=
                    stuck && change.what.is_new_name() && !directories.contains(&change.inode);
            }
        })
    }

    fn stat(&self, path: &Path) -> io::Result<(Kind, u64)> {
        self.look("stat", &path, |disk| {
            let id = disk.find(path)?;
            let inode = disk.inode(id)?;
            Ok(match inode.is_directory {
                true => (Kind::Directory, 0),
                false => (Kind::File, inode.cache.len() as u64),
            })
        })
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn OpenFile>> {
        let new = !self.disk.lock().names.contains_key(path);
        let creates = !matches!(access, Access::Read | Access::Write | Access::Through);
        let call = Call {
            name: "open",
            about: &(path, access),
            changes: access != Access::Read,
            grows: creates && new,
        };
        let perform = |disk: &mut Disk| {
            disk.directory(parent(path))?;
            let id = match (disk.find(path), access) {
                (Ok(_), Access::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Ok(id), _) => id,
                (Err(missing), _) if !creates => return Err(missing),
                (Err(_), _) => {
                    let id = disk.new_inode(false);
                    disk.rename_all(id, vec![(path.to_owned(), Some(id))], true);
                    id
                }
            };
            if disk.inode(id)?.is_directory {
                return Err(not_a_file());
            }
            if access == Access::Replace {
                disk.set_length(id, 0)?;
            }
            disk.inode(id)?.opens += 1;
            Ok((id, disk.number()))
        };
        let (inode, handle) = self.call(&call, perform, |_| {})?;
        Ok(Arc::new(SimFile {
            process: self.clone(),
            inode,
            handle,
            through: access == Access::Through,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change("rename", &(from, to), true, |disk| {
            let id = disk.find(from)?;
            disk.directory(parent(to))?;
            let names = vec![(from.to_owned(), None), (to.to_owned(), Some(id))];
            disk.rename_all(id, names, false);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change("remove", &path, false, |disk| {
            let id = disk.find(path)?;
            if disk.inode(id)?.is_directory {
                return Err(not_a_file());
            }
            disk.rename_all(id, vec![(path.to_owned(), None)], false);
            Ok(())
        })
    }

    /// At once and here: equal seeds give equal runs.
    fn spawn(&self, work: Box<dyn FnOnce() + Send>) -> io::Result<Option<JoinHandle<()>>> {
        work();
        Ok(None)
    }
}

/// An open file of a process.
#[derive(Debug)]
struct SimFile {
    process: Process,
    inode: InodeId,
    handle: u64,
    /// Writes are durable when they return.
    through: bool,
}

impl OpenFile for SimFile {
    fn read_onto(&self, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        let about = (self.inode, offset, room);
        self.process.look("read", &about, |disk| {
            let length = interfere(disk, room)?;
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let cache = &disk.inode(self.inode)?.cache;
            let found = cache.get(from.min(cache.len())..).unwrap_or_default();
            let length = length.min(found.len());
            buffer.extend_from_slice(found.get(..length).unwrap_or_default());
            Ok(length)
        })
    }

    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = parts.iter().fold(Vec::new(), |mut bytes, part| {
            bytes.extend_from_slice(part);
            bytes
        });
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let allocated = |disk: &Disk| disk.inodes.get(&self.inode).map_or(0, |it| it.allocated);
        let call = Call {
            name: "write",
            about: &(self.inode, offset, bytes.len()),
            changes: true,
            grows: true, // where blocks are copied on write, nothing that was promised helps
        };
        let perform = |disk: &mut Disk| {
            let room = disk.room(self.inode).max(allocated(disk));
            let fits = usize::try_from(room.saturating_sub(offset)).unwrap_or(usize::MAX);
            let length = interfere(disk, bytes.len())?.min(fits);
            if length == 0 && !bytes.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.store(disk, start, bytes.get(..length).unwrap_or_default())?;
            Ok(length)
        };
        let written = self.process.call(&call, perform, |disk| {
            let part = disk.random.below(bytes.len() + 1);
            let _ = self.store(disk, start, bytes.get(..part).unwrap_or_default());
        })?;
        if self.through {
            self.sync(start..start + written)?;
        }
        Ok(written)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(0..usize::MAX)
    }

    fn allocate(&self, start: u64, end: u64) -> io::Result<()> {
        let about = (self.inode, start..end);
        self.process.change("allocate", &about, true, |disk| {
            let wanted = end.next_multiple_of(BLOCK);
            if wanted > disk.room(self.inode) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let inode = disk.inode(self.inode)?;
            inode.allocated = inode.allocated.max(wanted);
            let length = inode.cache.len();
            let end = usize::try_from(end).map_err(|_| io::ErrorKind::FileTooLarge)?;
            disk.set_length(self.inode, length.max(end))
        })
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let about = (self.inode, bytes);
        let perform = |disk: &mut Disk| disk.set_length(self.inode, length);
        self.process.change("set_length", &about, false, perform)
    }

    fn length(&self) -> io::Result<u64> {
        self.process.look("length", &self.inode, |disk| {
            Ok(disk.inode(self.inode)?.cache.len() as u64)
        })
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.process.look("lock", &(self.inode, exclusive), |disk| {
            let locks = &mut disk.inode(self.inode)?.locks;
            let excluded = locks
                .iter()
                .any(|(handle, theirs)| *handle != self.handle && (exclusive || *theirs));
            if !excluded {
                locks.retain(|(handle, _)| *handle != self.handle);
                locks.push((self.handle, exclusive));
            }
            Ok(!excluded)
        })
    }
}

impl SimFile {
    /// Makes what was written there durable. A write past the cache ends with it: power that fails in
    /// the middle, or an error, leaves of it what a sync would leave.
    fn sync(&self, range: Range<usize>) -> io::Result<()> {
        let call = Call {
            name: "sync",
            about: &(self.inode, &range),
            changes: false,
            grows: false,
        };
        let perform = |disk: &mut Disk| disk.sync_file(self.inode, &range);
        self.process.call(&call, perform, |disk| {
            disk.fail_sync(self.inode, &range);
        })
    }

    fn store(&self, disk: &mut Disk, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let end = offset + bytes.len();
        let length = disk.inode(self.inode)?.cache.len();
        disk.set_length(self.inode, length.max(end))?;
        let inode = disk.inode(self.inode)?;
        inode.allocated = inode.allocated.max((end as u64).next_multiple_of(BLOCK));
        let extent = Extent {
            offset,
            bytes: bytes.to_vec(),
        };
        extent.store(&mut inode.cache);
        inode.unsynced.push(extent);
        Ok(())
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.process.disk.lock();
        if disk.life == self.process.life {
            if let Ok(inode) = disk.inode(self.inode) {
                inode.opens = inode.opens.saturating_sub(1);
                inode.locks.retain(|(handle, _)| *handle != self.handle);
            }
            disk.collect();
        }
    }
}

/// Signals interrupt, and calls do less than they were asked for.
fn interfere(disk: &mut Disk, length: usize) -> io::Result<usize> {
    if !disk.noise || length < 2 {
        return Ok(length);
    }
    match disk.random.below(8) {
        0 => Err(io::ErrorKind::Interrupted.into()),
        1 | 2 => Ok(1 + disk.random.below(length - 1)),
        _ => Ok(length),
    }
}
