//! The calls in which operating systems differ.

use std::fs::File;
use std::io;
use std::path::Path;

/// Reads at `offset` until `buffer` is full or the file ends; returns how much was read.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match read_some(file, rest, offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(unix)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_some(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// Writes at `offset` without moving the file's own position.
#[cfg(unix)]
pub(crate) fn write_beside(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// There is no such call; whoever asks must be able to do without.
#[cfg(windows)]
pub(crate) fn write_beside(_file: &File, _bytes: &[u8], _offset: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes sure that the blocks up to `end` exist, so that writing them cannot run out of space.
/// Best effort: file systems that cannot promise that (or copy on write) are left alone.
#[cfg(target_os = "linux")]
pub(crate) fn allocate(file: &File, start: u64, end: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(
        file,
        FallocateFlags::empty(),
        start,
        end.saturating_sub(start),
    ) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

/// There is no call that promises it.
#[cfg(not(target_os = "linux"))]
pub(crate) fn allocate(_file: &File, _start: u64, _end: u64) -> io::Result<()> {
    Ok(())
}

/// Makes the names in a directory durable.
#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// NTFS journals names; there is no call to wait for it.
#[cfg(windows)]
pub(crate) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}
