//! `okaywal`: every commit syncs; concurrent commits share a sync.
//!
//! Its segments are 1 MiB by default and checkpointed all the time; here they are 64 MiB, and in
//! bulk one segment holds everything, because a checkpoint drops what it has seen. It reads only
//! while it opens, so its replay is its open.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use bytes::Bytes;
use okaywal::{
    Configuration, Entry, EntryId, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog,
};

use crate::candidate::{Candidate, Replayed, Setup};

const SEGMENT: u32 = 64 << 20;

/// Counts what recovery finds, verified.
#[derive(Debug, Default, Clone)]
struct Counter(Arc<Mutex<Replayed>>);

impl Counter {
    fn with<T>(&self, f: impl FnOnce(&mut Replayed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogManager for Counter {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            let payload = chunk.read_all()?;
            if !chunk.check_crc()? {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.with(|found| found.add(&payload));
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: EntryId,
        _entries: &mut SegmentReader,
        _wal: &WriteAheadLog,
    ) -> io::Result<()> {
        Ok(())
    }
}

struct Okay {
    log: WriteAheadLog,
    found: Counter,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let begun = Instant::now();
    let found = Counter::default();
    let segment = setup.segment.map_or(Ok(SEGMENT), u32::try_from)?;
    let mut configuration = Configuration::default_for(setup.dir.join("log"));
    configuration = if setup.bulk {
        // 9 bytes a chunk and 10 an entry, generously.
        let room = setup.bytes + setup.bytes / 8 + (1 << 20);
        configuration
            .preallocate_bytes(u32::try_from(room)?)
            .checkpoint_after_bytes(u64::MAX)
    } else {
        configuration
            .preallocate_bytes(segment)
            .checkpoint_after_bytes(u64::from(segment - (1 << 20)))
    };
    let log = configuration.buffer_bytes(256 << 10).open(found.clone())?;
    found.with(|found| found.took = begun.elapsed());
    Ok(Box::new(Okay { log, found }))
}

impl Candidate for Okay {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        let mut entry = self.log.begin_entry()?;
        entry.write_chunk(record)?;
        entry.commit()?;
        Ok(())
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let mut entry = self.log.begin_entry()?;
        for _ in 0..count {
            entry.write_chunk(record)?;
        }
        entry.commit()?;
        Ok(())
    }

    /// Its commit has done it.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        Ok(self.found.with(|found| *found))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.log.shutdown()?)
    }
}
