//! `wal-core` on `wal-fs`, with default options.
//!
//! What was appended durably is released now and then, as a log in use is, so that its segments
//! are used again; before it is measured, the log is brought into that state. (The floor's
//! blocks were written before, too.) What was written in bulk is kept: it is read back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use wal_core::{Append, Durability, Lsn, Options, Wal};
use wal_fs::FileStorage;

use crate::candidate::{Candidate, Replayed, Setup};

/// From here on a record is handed over without a copy.
const ZERO_COPY: usize = 4096;
/// Payload bytes of one append in bulk.
const BATCH: usize = 64 << 10;

struct Ours {
    wal: Wal,
    /// Bytes appended since the last release; `None` if nothing is released.
    since_release: Option<AtomicU64>,
}

/// So much is released at a time.
const RELEASE: u64 = 16 << 20;

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let storage = FileStorage::open(setup.dir.join("log"))?;
    let (wal, _) = Wal::open(storage, Options::default())?;
    let since_release = (!setup.bulk).then(AtomicU64::default);
    if since_release.is_some() && wal.end() == Lsn::ZERO {
        until_segments_are_used_again(&wal)?;
    }
    Ok(Box::new(Ours { wal, since_release }))
}

/// Fills some segments and releases them, so that they are there for the next ones.
fn until_segments_are_used_again(wal: &Wal) -> Result<()> {
    let record = Bytes::from(vec![0; 1 << 20]);
    let bytes = 4 * Options::default().segment_bytes;
    for _ in 0..bytes / record.len() as u64 {
        drop(wal.append_with(record.clone(), Durability::Accepted)?);
    }
    wal.sync()?;
    wal.release(wal.newest_segment())?;
    wal.sync()?;
    std::thread::sleep(std::time::Duration::from_millis(200)); // deletions are in the background
    Ok(())
}

impl Candidate for Ours {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        let lsns = if record.len() < ZERO_COPY {
            self.wal.commit(&record[..])?
        } else {
            self.wal.commit(record.clone())?
        };
        if let Some(since) = &self.since_release
            && since.fetch_add(record.len() as u64, Relaxed) > RELEASE
        {
            since.store(0, Relaxed);
            self.wal.release(lsns.start)?;
        }
        Ok(())
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let each = (BATCH / record.len()).max(1) as u64;
        let mut left = count;
        while left > 0 {
            let records = each.min(left);
            left -= records;
            let mut append = Append::with_capacity(BATCH, usize::try_from(records)?);
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

    fn syncs(&self) -> Option<u64> {
        Some(self.wal.stats().syncs)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.wal.close()?)
    }
}
