//! Files as a feed for a receiver.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::lines::{self, Lines};
use crate::{Block, Feed, Positions, RecordRef, Result};

/// Records between two looks at the clock.
const STAMP: u64 = 256;

/// The lines of files, one file after the other, without their line ends.
///
/// A file cannot be told what was stored: a restarted receiver goes on at the byte
/// that its log says (S2).
///
/// ```
/// use wal_streaming::{Block, Feed, FileFeed};
/// let dir = tempfile::tempdir()?;
/// let input = dir.path().join("orders.txt");
/// std::fs::write(&input, "first\nsecond")?;
/// let mut feed = FileFeed::open(vec![input])?;
/// let mut block = Block::new();
/// feed.receive(&mut block, Default::default())?;
/// assert_eq!(block.records(), 2);
/// assert!(feed.exhausted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileFeed {
    files: Vec<Lines>,
    current: usize,
}

impl FileFeed {
    /// Opens every file; reads up to the length that it has now.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if one cannot be read;
    /// [`Error::Setting`](crate::Error::Setting) if a path is not UTF-8 or is named twice.
    pub fn open(paths: Vec<PathBuf>) -> Result<FileFeed> {
        Ok(FileFeed {
            files: lines::open_all(&paths)?,
            current: 0,
        })
    }
}

impl Feed for FileFeed {
    fn identity(&self) -> String {
        lines::identity(&self.files)
    }

    fn resume(&mut self, positions: &Positions) -> Result<()> {
        self.current = 0;
        self.files
            .iter_mut()
            .try_for_each(|file| file.resume(positions))
    }

    fn receive(&mut self, block: &mut Block, _wait: Duration) -> Result<()> {
        let mut received = Instant::now();
        while let Some(file) = self.files.get_mut(self.current) {
            let partition = file.partition.clone();
            while block.has_room() {
                let Some(line) = file.next()? else { break };
                block.push(RecordRef {
                    partition: &partition,
                    offset: line.offset,
                    key: None,
                    value: line.text,
                });
                block.advance(&partition, file.position);
                if block.records().is_multiple_of(STAMP) {
                    block.stamp(received);
                    received = Instant::now();
                }
            }
            if !block.has_room() {
                break;
            }
            self.current += 1;
        }
        block.stamp(received);
        Ok(())
    }

    fn acknowledge(&mut self, _positions: &Positions) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    fn exhausted(&self) -> bool {
        let unread = self.files.get(self.current..).unwrap_or_default();
        unread.iter().all(|file| file.position == file.length)
    }
}
