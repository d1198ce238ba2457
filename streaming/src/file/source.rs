//! Files as a source for a driver: direct mode.

use std::path::PathBuf;
use std::time::Duration;

use super::lines::{self, Lines};
use crate::{Each, Error, OffsetRange, Positions, RecordRef, Result, Source};

/// The lines of files, read in ranges of bytes that start and end with a line.
///
/// ```
/// use wal_streaming::{FileSource, Source};
/// let dir = tempfile::tempdir()?;
/// let input = dir.path().join("orders.txt");
/// std::fs::write(&input, "first\nsecond\nthird")?;
/// let mut source = FileSource::open(vec![input])?;
/// let ranges = source.plan(&Default::default(), 2, Default::default())?;
/// assert_eq!((ranges[0].from, ranges[0].until), (0, 13));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileSource {
    /// For finding where lines end, in plans.
    planned: Vec<Lines>,
    /// For fetching: a second place in each file, so that both go straight ahead.
    fetched: Vec<Lines>,
}

impl FileSource {
    /// Opens every file; what is appended to one later is not read.
    ///
    /// # Errors
    /// As [`FileFeed::open`](crate::FileFeed::open).
    pub fn open(paths: Vec<PathBuf>) -> Result<FileSource> {
        Ok(FileSource {
            planned: lines::open_all(&paths)?,
            fetched: lines::open_all(&paths)?,
        })
    }
}

impl Source for FileSource {
    fn identity(&self) -> String {
        lines::identity(&self.planned)
    }

    fn plan(&mut self, after: &Positions, limit: u64, _wait: Duration) -> Result<Vec<OffsetRange>> {
        let mut ranges = Vec::new();
        let mut left = limit;
        for file in &mut self.planned {
            file.resume(after)?;
            let from = file.position;
            while left > 0 && file.next()?.is_some() {
                left -= 1;
            }
            if file.position > from {
                ranges.push(OffsetRange {
                    partition: file.partition.clone(),
                    from,
                    until: file.position,
                });
            }
        }
        Ok(ranges)
    }

    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let named = |file: &&mut Lines| file.partition == range.partition;
        let Some(file) = self.fetched.iter_mut().find(named) else {
            return Err(Error::Missing {
                range: range.clone(),
                reason: "this source does not read that file".to_owned(),
            });
        };
        // A range that was planned when the file was longer: the seek says so.
        file.seek(range.until)?;
        file.seek(range.from)?;
        let partition = file.partition.clone();
        while file.position < range.until {
            let Some(line) = file.next()? else { break };
            each(RecordRef {
                partition: &partition,
                offset: line.offset,
                key: None,
                value: line.text,
            })?;
        }
        Ok(())
    }

    fn done(&mut self, _positions: &Positions) -> Result<()> {
        Ok(())
    }

    fn exhausted(&self, after: &Positions) -> bool {
        let mut files = self.planned.iter();
        files.all(|file| after.get(&file.partition).unwrap_or(0) >= file.length)
    }
}
