//! `wal-core` on `wal-fs`, with default options.

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

struct Ours(Wal);

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let storage = FileStorage::open(setup.dir.join("log"))?;
    let (wal, _) = Wal::open(storage, Options::default())?;
    Ok(Box::new(Ours(wal)))
}

impl Candidate for Ours {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        if record.len() < ZERO_COPY {
            self.0.commit(&record[..])?;
        } else {
            self.0.commit(record.clone())?;
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
            drop(self.0.append_with(append, Durability::Accepted)?);
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()?;
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        for record in self.0.reader(Lsn::ZERO)? {
            replayed.add(&record?.payload);
        }
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.0.stats().syncs)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}
