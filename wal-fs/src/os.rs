//! The seam on a real file system: the calls in which operating systems differ.

use std::fs::{self, File, FileType, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::file_system::{Access, Entry, FileSystem, Kind, OpenFile};

/// The operating system's file systems.
#[derive(Debug)]
pub(crate) struct Os;

#[derive(Debug)]
struct OsFile(File);

impl FileSystem for Os {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn list(&self, path: &Path, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            each(Entry {
                name: &entry.file_name(),
                kind: kind(entry.file_type()?), // stands in the entry: no look at the file
                file: file_number(&entry),
            });
        }
        Ok(())
    }

    #[cfg(unix)]
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// NTFS journals names; there is no call to wait for it.
    #[cfg(not(unix))]
    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<(Kind, u64)> {
        look_at(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Write => options.read(true).write(true),
            Access::CreateNew => options.write(true).create_new(true),
            Access::Create => options.read(true).write(true).create(true).truncate(false),
            Access::Replace => options.write(true).create(true).truncate(true),
            Access::Through => options.write(true),
        };
        set_flags(&mut options, access)?;
        let file = options.open(path).map_err(|cause| explain(path, cause))?;
        if access != Access::CreateNew {
            let (found, _) = look_into(&file)?;
            if found != Kind::File {
                return Err(no_file(found));
            }
        }
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn spawn(&self, name: &str, work: Box<dyn FnOnce() + Send>) -> Option<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name(name.into());
        thread.spawn(work).ok()
    }
}

/// Kind and length of what a name stands for; a link is not followed.
#[cfg(target_os = "linux")]
fn look_at(path: &Path) -> io::Result<(Kind, u64)> {
    let found = statx(rustix::fs::CWD, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    match found {
        Some(found) => Ok(found),
        None => Ok(told(&fs::symlink_metadata(path)?)),
    }
}

/// The same of an open file.
#[cfg(target_os = "linux")]
fn look_into(file: &File) -> io::Result<(Kind, u64)> {
    match statx(file, "", rustix::fs::AtFlags::EMPTY_PATH)? {
        Some(found) => Ok(found),
        None => Ok(told(&file.metadata()?)),
    }
}

/// Asks for nothing else: where times were asked for, Linux from 6.13 notes the next change to the
/// nanosecond, and every file's next change with it. On ext4 each of these is one more block to be
/// written, and a frame waits for it. `None`: there is no such call here.
#[cfg(target_os = "linux")]
fn statx(
    directory: impl std::os::fd::AsFd,
    path: impl rustix::path::Arg,
    flags: rustix::fs::AtFlags,
) -> io::Result<Option<(Kind, u64)>> {
    use rustix::fs::{FileType, StatxFlags};
    use rustix::io::Errno;
    let wanted = StatxFlags::TYPE | StatxFlags::SIZE;
    let found = match rustix::fs::statx(directory, path, flags, wanted) {
        Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
        found => found?,
    };
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    };
    Ok(Some((kind, found.stx_size)))
}

#[cfg(not(target_os = "linux"))]
fn look_at(path: &Path) -> io::Result<(Kind, u64)> {
    Ok(told(&fs::symlink_metadata(path)?))
}

#[cfg(not(target_os = "linux"))]
fn look_into(file: &File) -> io::Result<(Kind, u64)> {
    Ok(told(&file.metadata()?))
}

fn told(found: &fs::Metadata) -> (Kind, u64) {
    (kind(found.file_type()), found.len())
}

fn kind(found: FileType) -> Kind {
    if found.is_symlink() {
        Kind::Symlink
    } else if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Directory
    } else {
        Kind::Other
    }
}

fn no_file(kind: Kind) -> io::Error {
    let name = kind.name();
    let text = format!("it is {name}, and only a plain file will do; move it elsewhere");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// The system refuses a directory or a symbolic link in words of its own, or in none.
fn explain(path: &Path, cause: io::Error) -> io::Error {
    match look_at(path) {
        Ok((found, _)) if found != Kind::File => no_file(found),
        _ => cause,
    }
}

#[cfg(unix)]
fn file_number(entry: &fs::DirEntry) -> Option<u64> {
    Some(std::os::unix::fs::DirEntryExt::ino(entry))
}

#[cfg(not(unix))]
fn file_number(_entry: &fs::DirEntry) -> Option<u64> {
    None
}

/// Neither follows a symbolic link nor waits for the other end of a pipe.
#[cfg(unix)]
fn set_flags(options: &mut OpenOptions, access: Access) -> io::Result<()> {
    use rustix::fs::OFlags;
    let mut flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    if access == Access::Through {
        flags |= through()?;
    }
    std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags);
    Ok(())
}

/// Not by way of rustix 1.1, whose `OFlags::DSYNC` is `O_SYNC` on Linux: then a journal is written, too,
/// whenever the time of the last change is another one.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere there is no such thing")]
fn through() -> io::Result<i32> {
    Ok(libc::O_DIRECT | libc::O_DSYNC)
}

/// Elsewhere nobody has looked what such writes promise.
#[cfg(all(unix, not(target_os = "linux")))]
fn through() -> io::Result<i32> {
    Err(io::ErrorKind::Unsupported.into())
}

/// `FILE_FLAG_OPEN_REPARSE_POINT`: opens the link itself, which is then refused.
#[cfg(windows)]
fn set_flags(options: &mut OpenOptions, access: Access) -> io::Result<()> {
    if access == Access::Through {
        return Err(io::ErrorKind::Unsupported.into());
    }
    std::os::windows::fs::OpenOptionsExt::custom_flags(options, 0x0020_0000);
    Ok(())
}

impl OpenFile for OsFile {
    /// Into memory that was not zeroed first: zeroing cost a seventh of a replay.
    #[cfg(unix)]
    fn read_onto(&self, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        let room = rustix::buffer::spare_capacity(buffer);
        Ok(rustix::io::pread(&self.0, room, offset)?)
    }

    #[cfg(windows)]
    fn read_onto(&self, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
        let held = buffer.len();
        buffer.resize(buffer.capacity(), 0);
        let room = buffer.get_mut(held..).unwrap_or_default();
        let read = std::os::windows::fs::FileExt::seek_read(&self.0, room, offset);
        buffer.truncate(held + read.as_ref().copied().unwrap_or(0));
        read
    }

    #[cfg(unix)]
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        match parts {
            // By way of libc, where tests step in: writes past the page cache are of one part.
            [part] => std::os::unix::fs::FileExt::write_at(&self.0, part, offset),
            parts => Ok(rustix::io::pwritev(&self.0, parts, offset)?),
        }
    }

    /// There is no vectored call: one part at a time.
    #[cfg(windows)]
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let part = parts.iter().find(|part| !part.is_empty());
        part.map_or(Ok(0), |part| {
            std::os::windows::fs::FileExt::seek_write(&self.0, part, offset)
        })
    }

    /// An error is not to be ignored: what the file system says here it keeps no note of for the
    /// next sync (`filemap_fdatawrite_range` in Linux), unlike what goes wrong later.
    #[cfg(target_os = "linux")]
    fn begin_writing_back(&self, range: Range<u64>) -> io::Result<()> {
        use std::os::fd::AsRawFd;
        let start = range.start.try_into().unwrap_or(i64::MAX);
        let bytes = (range.end.saturating_sub(range.start)).try_into();
        let (bytes, file) = (bytes.unwrap_or(0), self.0.as_raw_fd());
        #[expect(unsafe_code, reason = "no crate has it as a safe call")]
        // SAFETY: numbers go in, and one comes out; the file is open, for `self` holds it.
        let said =
            unsafe { libc::sync_file_range(file, start, bytes, libc::SYNC_FILE_RANGE_WRITE) };
        if said == 0 {
            return Ok(());
        }
        let cause = io::Error::last_os_error();
        match cause.raw_os_error() {
            // Not here, or not for us.
            Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::EINVAL | libc::ESPIPE | libc::EPERM) => {
                Ok(())
            }
            _ => Err(cause),
        }
    }

    /// There is no call that only begins.
    #[cfg(not(target_os = "linux"))]
    fn begin_writing_back(&self, _range: Range<u64>) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, start: u64, end: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        let bytes = end.saturating_sub(start);
        match fallocate(&self.0, FallocateFlags::empty(), start, bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    /// There is no call that promises it.
    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _start: u64, _end: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_length(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(look_into(&self.0)?.1)
    }

    /// To the tick, as a write would: a time of our own would be another one.
    #[cfg(target_os = "linux")]
    fn touch(&self) {
        use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
        let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        let _ = futimens(
            &self.0,
            &Timestamps {
                last_access: time(UTIME_OMIT),
                last_modification: time(UTIME_NOW),
            },
        );
    }

    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        let locked = if exclusive {
            self.0.try_lock()
        } else {
            self.0.try_lock_shared()
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    fn unlock(&self) {
        let _ = self.0.unlock(); // closing the file does the rest
    }
}
