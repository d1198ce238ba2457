//! One writer (G6): an advisory lock on a file of the directory.
//!
//! The lock belongs to the open file, so a second handle in the same process is refused
//! like another process; it ends with the process, however that ends. The file is
//! opened close-on-exec. Its text names the holder, for the error message only.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use wal_core::StorageError;
use wal_core::planted::planted;

use crate::file_system::{Access, FileSystem, OpenFile, read_full, write_full};

/// The length of the note, without its line end.
const NOTE: usize = 31;

/// Held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Arc<dyn OpenFile>,
    process: u32,
}

/// Who holds the lock of this directory, if anybody does.
pub(crate) fn holder(
    system: &dyn FileSystem,
    directory: &Path,
) -> Result<Option<String>, StorageError> {
    let path = directory.join("LOCK");
    let context = || format!("locking {}", path.display());
    let file = match system.open(&path, Access::Read) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(StorageError::io(context(), cause)),
    };
    let free = file.try_lock(false);
    let free = free.map_err(|cause| StorageError::io(context(), cause))?;
    Ok((!free).then(|| name(file.as_ref())))
}

/// What the holder wrote into the file. It helps a person; without it nothing changes.
fn name(file: &dyn OpenFile) -> String {
    let holder = read_full(file, 64, 0).unwrap_or_default();
    let holder = String::from_utf8_lossy(&holder);
    match holder.trim() {
        "" => "another process".into(),
        holder => holder.into(),
    }
}

impl Lock {
    pub(crate) fn acquire(system: &dyn FileSystem, directory: &Path) -> Result<Lock, StorageError> {
        let path = directory.join("LOCK");
        let failed = |cause| StorageError::io(format!("locking {}", path.display()), cause);
        let file = system.open(&path, Access::Create).map_err(failed)?;
        if !file.try_lock(!planted("lock-is-shared")).map_err(failed)? {
            let holder = name(file.as_ref());
            return Err(StorageError::InUse(format!(
                "log directory {} is being written by {holder}; stop it, or use another directory",
                directory.display()
            )));
        }
        // As long as any other, so that the block is never given back: on a full disk somebody
        // else would get it. And if the note cannot be written, the lock is held all the same.
        let note = format!("{:<NOTE$}\n", format!("process {}", std::process::id()));
        let _ = write_full(file.as_ref(), &mut [IoSlice::new(note.as_bytes())], 0);
        let process = std::process::id();
        Ok(Lock { file, process })
    }
}

impl Drop for Lock {
    /// A child that was forked and has not called `exec` yet has the file open, too: the lock
    /// would last as long as that. And what a child drops is not its own to give up.
    fn drop(&mut self) {
        if std::process::id() == self.process {
            self.file.unlock();
        }
    }
}
