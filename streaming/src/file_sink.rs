//! A sink of files: one for each batch, whole or not there at all.
//!
//! A batch is written to `batch-<id>.<ending>.tmp`, synced, renamed to its name,
//! and the directory is synced. After a crash the name is there with everything
//! in it, or not there; a batch that is run again replaces its file by the same
//! (S4). Leftovers that were never renamed are removed when the sink is made.

mod format;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

pub use self::format::Format;
use crate::{Batch, Delivery, Error, RecordRef, Result, Sink};
use wal_core::planted::planted_or;

const BUFFER: usize = 256 << 10;

/// Writes each batch to a file of its own: `batch-00000000000000000007.jsonl`.
///
/// ```
/// use wal_streaming::{Batch, FileSink, Format, Partition, RecordRef, Sink};
/// let dir = tempfile::tempdir()?;
/// let mut sink = FileSink::new(dir.path(), Format::Raw)?;
/// let (batch, partition) = (Batch { id: 7, ranges: vec![] }, Partition::new("orders", 0));
/// sink.begin(&batch)?;
/// sink.write(RecordRef { partition: &partition, offset: 0, key: None, value: b"order" })?;
/// sink.commit(&batch)?;
/// let written = std::fs::read_to_string(dir.path().join("batch-00000000000000000007.raw"))?;
/// assert_eq!(written, "order\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileSink {
    dir: PathBuf,
    format: Format,
    open: Option<Open>,
    line: Vec<u8>,
}

/// The file of the batch that was begun.
#[derive(Debug)]
struct Open {
    aside: PathBuf,
    file: BufWriter<File>,
}

impl FileSink {
    /// A sink in `dir`, which is created if it is not there.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be used.
    pub fn new(dir: impl Into<PathBuf>, format: Format) -> Result<FileSink> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let entry = entry.map_err(at(&dir))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("batch-") && name.ends_with(".tmp") {
                fs::remove_file(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(FileSink {
            dir,
            format,
            open: None,
            line: Vec::new(),
        })
    }

    fn path(&self, batch: &Batch, suffix: &str) -> PathBuf {
        let ending = self.format.ending();
        self.dir
            .join(format!("batch-{:020}.{ending}{suffix}", batch.id))
    }

    fn out_of_order(&self, what: &str) -> Error {
        Error::Sink {
            place: self.dir.display().to_string(),
            reason: format!("{what} without a batch that was begun"),
        }
    }
}

/// Adds the path to what the system said.
fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |cause| Error::File {
        path: path.to_owned(),
        cause,
    }
}

impl Sink for FileSink {
    fn delivery(&self) -> Delivery {
        Delivery::Idempotent
    }

    fn begin(&mut self, batch: &Batch) -> Result<()> {
        let aside = self.path(batch, planted_or("sink-writes-in-place", "", ".tmp"));
        let file = File::create(&aside).map_err(at(&aside))?;
        self.open = Some(Open {
            aside,
            file: BufWriter::with_capacity(BUFFER, file),
        });
        Ok(())
    }

    fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
        let Some(open) = &mut self.open else {
            return Err(self.out_of_order("a record came"));
        };
        self.line.clear();
        self.format.write(&record, &mut self.line);
        open.file.write_all(&self.line).map_err(at(&open.aside))
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Err(self.out_of_order("a commit came"));
        };
        let Open { aside, file } = open;
        let file = file
            .into_inner()
            .map_err(|error| at(&aside)(error.into_error()))?;
        file.sync_all().map_err(at(&aside))?;
        let path = self.path(batch, "");
        fs::rename(&aside, &path).map_err(at(&path))?;
        // The name is durable once its directory is.
        let dir = File::open(&self.dir).map_err(at(&self.dir))?;
        dir.sync_all().map_err(at(&self.dir))
    }
}
