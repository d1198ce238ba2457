//! `wal-core` on `wal-fs`, with default options; smaller segments where a case asks for them.
//!
//! What was appended durably is released now and then, as a log in use is, so that its segments
//! are used again; before it is measured, the log is brought into that state. (The floor's
//! blocks were written before, too.) What was written in bulk is kept: it is read back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use wal_core::{Append, Durability, Lsn, Options, Wal};
use wal_fs::FileStorage;

use crate::candidate::{Candidate, Replayed, Setup};
use crate::cases::By;
use crate::tasks::{self, Load, Loaded};

/// From here on a record is handed over without a copy.
const ZERO_COPY: usize = 4096;
/// Payload bytes of one append in bulk.
const BATCH: usize = 64 << 10;

#[derive(Clone)]
struct Ours {
    wal: Wal,
    /// Payload bytes of one append in bulk.
    batch: usize,
    /// So many bytes are released at a time: a quarter of a segment.
    quarter: u64,
    /// Bytes appended since the last release; `None` if nothing is released.
    since_release: Option<Arc<AtomicU64>>,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let storage = FileStorage::open(setup.dir.join("log"))?;
    let options = options(setup);
    let (segment, frame) = (options.segment_bytes, options.frame_bytes);
    let (wal, _) = Wal::open(storage, options)?;
    let since_release = (!setup.kept).then(Arc::default);
    if since_release.is_some() && wal.end() == Lsn::ZERO {
        until_segments_are_used_again(&wal, segment)?;
    }
    Ok(Box::new(Ours {
        wal,
        batch: BATCH.min(usize::try_from(frame)?),
        quarter: segment / 4,
        since_release,
    }))
}

/// The defaults, unless a case asks for smaller segments.
fn options(setup: &Setup) -> Options {
    let mut options = Options::default();
    if let Some(segment) = setup.segment {
        options.segment_bytes = segment;
        options.append_bytes = options.append_bytes.min(segment / 2);
        options.frame_bytes = options.frame_bytes.min(segment / 8);
    }
    options
}

/// Fills some segments and releases them, so that they are there for the next ones; then fills
/// one more, so that the log writes into one of those.
fn until_segments_are_used_again(wal: &Wal, segment: u64) -> Result<()> {
    let record = Bytes::from(vec![0; 1 << 20]);
    for segments in [4, 1] {
        for _ in 0..segments * segment / record.len() as u64 {
            drop(wal.append_with(record.clone(), Durability::Accepted)?);
        }
        wal.sync()?;
        wal.release(wal.newest_segment())?;
        wal.sync()?;
        // Deletions are in the background.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    Ok(())
}

impl Ours {
    /// Releases now and then what was appended before.
    fn release(&self, bytes: usize, lsns: &Range<Lsn>) -> Result<()> {
        if let Some(since) = &self.since_release
            && since.fetch_add(bytes as u64, Relaxed) > self.quarter
        {
            since.store(0, Relaxed);
            self.wal.release(lsns.start)?;
        }
        Ok(())
    }
}

impl Candidate for Ours {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        let lsns = if record.len() < ZERO_COPY {
            self.wal.commit(&record[..])?
        } else {
            self.wal.commit(record.clone())?
        };
        self.release(record.len(), &lsns)
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let each = (self.batch / record.len()).max(1) as u64;
        let mut left = count;
        while left > 0 {
            let records = each.min(left);
            left -= records;
            let mut append = Append::with_capacity(self.batch, usize::try_from(records)?);
            for _ in 0..records {
                if record.len() < ZERO_COPY {
                    append.push(record);
                } else {
                    append.push_bytes(record.clone());
                }
            }
            // Its commit would tell when the system has it; the sync at the end tells more.
            drop(self.wal.append_with(append, Durability::Accepted)?);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.wal.sync()?;
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        for record in self.wal.reader(Lsn::ZERO)? {
            replayed.add(&record?.payload);
        }
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn fetch(&self, numbers: &[u64], by: By) -> Result<Replayed> {
        let lsns = numbers.iter().map(|number| Lsn::new(*number));
        let mut fetched = Replayed::default();
        if by == By::Number {
            let begun = Instant::now();
            for lsn in lsns {
                fetched.add(&self.wal.get(lsn)?.payload);
            }
            fetched.took = begun.elapsed();
            return Ok(fetched);
        }
        let places: Result<Vec<_>, _> = lsns.map(|lsn| self.wal.locate(lsn)).collect();
        let places = places?;
        let begun = Instant::now();
        for place in &places {
            fetched.add(&self.wal.read_at(place)?);
        }
        fetched.took = begun.elapsed();
        Ok(fetched)
    }

    fn tasks(&self, load: &Load) -> Result<Loaded> {
        let ours = self.clone();
        tasks::run(load, move |record| {
            let ours = ours.clone();
            async move {
                let lsns = ours.wal.append(&record[..])?.await?;
                ours.release(record.len(), &lsns)
            }
        })
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.wal.stats().syncs)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.wal.close()?)
    }
}
