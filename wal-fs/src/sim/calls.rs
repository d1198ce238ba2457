//! The seam over a simulated disk: every call may be the one at which something happens.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::disk::Disk;
use super::file::SimFile;
use super::{Fault, Metadata};
use crate::file_system::{Access, Entry, FileSystem, Kind, OpenFile};

/// A process that uses the disk.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) life: u64,
}

/// What a call is, for those who plan faults.
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    pub(super) about: &'a dyn std::fmt::Debug,
    /// It changes something.
    pub(super) changes: bool,
    /// It may need space.
    pub(super) grows: bool,
}

impl Process {
    pub(super) fn new(disk: Arc<Mutex<Disk>>, life: u64) -> Self {
        Process { disk, life }
    }

    /// Performs a call, or what was planned for it; `spoil` is what it leaves when it fails.
    pub(super) fn call<T>(
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

    pub(super) fn look<T>(
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

    pub(super) fn change<T>(
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

    /// There are none: equal seeds give equal runs.
    fn spawn(&self, _name: &str, _work: Box<dyn FnOnce() + Send>) -> Option<JoinHandle<()>> {
        None
    }
}
