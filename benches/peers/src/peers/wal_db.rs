//! `wal-db`: `append_and_sync`; concurrent syncs share one.
//!
//! One file, its simplest form; its segments of a fixed size would add a lookup per write.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use wal_db::Wal;

use crate::candidate::{Candidate, Replayed, Setup};

struct WalDb(Wal);

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    Ok(Box::new(WalDb(Wal::open(setup.dir.join("log.wal"))?)))
}

impl Candidate for WalDb {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        let _lsn = self.0.append_and_sync(record)?;
        Ok(())
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        for _ in 0..count {
            let _lsn = self.0.append(record)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(self.0.sync()?)
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        for record in self.0.iter()? {
            replayed.add(record?.data());
        }
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.sync()?)
    }
}
