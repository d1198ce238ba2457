//! `open-wal`: a single writer, `append` to memory and `commit` to the medium.
//!
//! It has no group commit for threads, so the floor's queue stands in front of it: with many
//! threads this measures what somebody would have to build around it, at its best.

use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use open_wal::{Lsn, Wal, WalConfig};

use crate::candidate::{Candidate, Replayed, Setup};
use crate::queue::{Group, Queue, Sink};

struct Writer(Wal);

impl Sink for Writer {
    fn write(&mut self, group: &mut Group) -> Result<()> {
        let mut rest = group.bytes.filled();
        for length in &group.lengths {
            let (record, behind) = rest.split_at(*length);
            self.0.append(record)?;
            rest = behind;
        }
        self.0.commit()?;
        Ok(())
    }
}

struct OpenWal {
    queue: Queue<Writer>,
    threads: usize,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let (wal, _) = Wal::open(&setup.dir.join("log"), WalConfig::default())?;
    Ok(Box::new(OpenWal {
        queue: Queue::new(Writer(wal)),
        threads: setup.threads,
    }))
}

impl Candidate for OpenWal {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        if self.threads > 1 {
            return self.queue.submit(record);
        }
        self.queue.with(|writer| -> Result<()> {
            writer.0.append(record)?;
            writer.0.commit()?;
            Ok(())
        })
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        self.queue.with(|writer| -> Result<()> {
            for _ in 0..count {
                writer.0.append(record)?;
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.queue.with(|writer| writer.0.commit())?;
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        self.queue.with(|writer| -> Result<()> {
            let mut reader = writer.0.reader_from(Lsn(0))?;
            while let Some(record) = reader.next() {
                replayed.add(record?.1);
            }
            Ok(())
        })?;
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn syncs(&self) -> Option<u64> {
        (self.threads > 1).then(|| self.queue.groups())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.queue.into_inner().0.commit()?;
        Ok(())
    }
}
