//! One writer (G6): an advisory lock on a file of the directory.
//!
//! The lock belongs to the open file, so a second handle in the same process is refused
//! like another process; it ends with the process, however that ends. The file is
//! opened close-on-exec. Its text names the holder, for the error message only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use wal_core::StorageError;

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Who holds the lock of this directory, if anybody does.
pub(crate) fn holder(directory: &Path) -> Result<Option<String>, StorageError> {
    let path = directory.join("LOCK");
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(StorageError::io(
                format!("opening {}", path.display()),
                cause,
            ));
        }
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(name(&mut file))),
        Err(TryLockError::Error(cause)) => Err(StorageError::io(
            format!("locking {}", path.display()),
            cause,
        )),
    }
}

/// What the holder wrote into the file. It helps a person; without it nothing changes.
fn name(file: &mut File) -> String {
    let mut holder = String::new();
    let _ = file.take(64).read_to_string(&mut holder);
    match holder.trim() {
        "" => "another process".into(),
        holder => holder.into(),
    }
}

impl Lock {
    pub(crate) fn acquire(directory: &Path) -> Result<Lock, StorageError> {
        let path = directory.join("LOCK");
        let context = || format!("locking {}", path.display());
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|cause| StorageError::io(context(), cause))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = name(&mut file);
                return Err(StorageError::InUse(format!(
                    "log directory {} is being written by {holder}; stop it, or use another directory",
                    directory.display()
                )));
            }
            Err(TryLockError::Error(cause)) => return Err(StorageError::io(context(), cause)),
        }
        let note = format!("process {}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(note.as_bytes()))
            .map_err(|cause| StorageError::io(context(), cause))?;
        Ok(Lock { _file: file })
    }
}
