//! The calls on an open file of a simulated disk.

use std::io::{self, IoSlice};
use std::ops::Range;

use super::calls::{Call, Process};
use super::disk::{BLOCK, Disk, Extent, InodeId};
use crate::file_system::OpenFile;

/// An open file of a process.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) process: Process,
    pub(super) inode: InodeId,
    pub(super) handle: u64,
    /// Writes are durable when they return.
    pub(super) through: bool,
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

    /// Any part of what was written may be on the medium at any time, so this changes nothing.
    fn begin_writing_back(&self, range: Range<u64>) -> io::Result<()> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        let range = at(range.start)..at(range.end);
        let call = Call {
            name: "write_back",
            about: &(self.inode, &range),
            changes: false,
            grows: false,
        };
        self.process
            .call(&call, |_| Ok(()), |disk| disk.fail_sync(self.inode, &range))
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
