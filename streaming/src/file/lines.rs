//! One file, line by line, each with its offset.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::{Error, OffsetRange, Partition, Positions, Result};

const BUFFER: usize = 256 << 10;
/// The longest line, so that a file without line ends cannot fill the memory (G8).
const LINE: u64 = 16 << 20;

/// Reads the lines of one file up to the length that it had when it was opened.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    pub(super) partition: Partition,
    /// Bytes that count.
    pub(super) length: u64,
    /// Where the next line starts.
    pub(super) position: u64,
    reader: BufReader<File>,
    line: Vec<u8>,
}

/// A line without its line end, and where it starts.
pub(super) struct Line<'a> {
    pub(super) offset: u64,
    pub(super) text: &'a [u8],
}

pub(super) fn open_all(paths: &[PathBuf]) -> Result<Vec<Lines>> {
    let mut files: Vec<Lines> = Vec::with_capacity(paths.len());
    for path in paths {
        let lines = Lines::open(path)?;
        if files.iter().any(|other| other.partition == lines.partition) {
            return Err(Error::Setting {
                setting: "paths",
                reason: format!("{} is named twice", path.display()),
            });
        }
        files.push(lines);
    }
    Ok(files)
}

/// `file:` and every path.
pub(super) fn identity(files: &[Lines]) -> String {
    let names: Vec<&str> = files.iter().map(|file| file.partition.topic()).collect();
    format!("file:{}", names.join(","))
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let failed = |cause| Error::File {
            path: path.to_owned(),
            cause,
        };
        let name = path.to_str().ok_or(Error::Setting {
            setting: "paths",
            reason: format!("{} is not UTF-8; rename it", path.display()),
        })?;
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        Ok(Lines {
            path: path.to_owned(),
            partition: Partition::new(name, 0),
            length: metadata.len(),
            position: 0,
            reader: BufReader::with_capacity(BUFFER, file),
            line: Vec::new(),
        })
    }

    /// Goes to the position that `positions` has for this file, or to its start.
    pub(super) fn resume(&mut self, positions: &Positions) -> Result<()> {
        self.seek(positions.get(&self.partition).unwrap_or(0))
    }

    pub(super) fn seek(&mut self, position: u64) -> Result<()> {
        if position > self.length {
            let reason = format!(
                "the file has only {} bytes: it shrank, or it is another file",
                self.length
            );
            return Err(self.missing(self.length, position, reason));
        }
        if position != self.position {
            self.reader
                .seek(SeekFrom::Start(position))
                .map_err(|cause| self.failed(cause))?;
            self.position = position;
        }
        Ok(())
    }

    /// The next line; `None` at the end. The last line needs no line end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        let offset = self.position;
        let left = self.length - offset;
        if left == 0 {
            return Ok(None);
        }
        self.line.clear();
        let mut bounded = (&mut self.reader).take(left.min(LINE));
        let read = bounded
            .read_until(b'\n', &mut self.line)
            .map_err(|cause| self.failed(cause))? as u64;
        let ended = self.line.last() == Some(&b'\n');
        if !ended && read < left {
            return Err(if read == LINE {
                self.failed(std::io::Error::other(format!(
                    "the line at byte {offset} is longer than {LINE} bytes"
                )))
            } else {
                let reason = "the file shrank while it was read".to_owned();
                self.missing(offset, self.length, reason)
            });
        }
        self.position += read;
        let text = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        Ok(Some(Line { offset, text }))
    }

    fn failed(&self, cause: std::io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            cause,
        }
    }

    fn missing(&self, from: u64, until: u64, reason: String) -> Error {
        Error::Missing {
            range: OffsetRange {
                partition: self.partition.clone(),
                from,
                until,
            },
            reason,
        }
    }
}
