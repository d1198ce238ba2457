//! `writeahead`: an async handle; a writer thread syncs every round of its queue.
//!
//! It cannot accept records without syncing them, so its bulk syncs each batch of 4 MiB, its
//! default limit; two batches are under way at a time. Its queue takes 1,024 commands instead
//! of 64, so that 256 threads do not wait for a place.

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt;
use futures::executor::block_on;
use writeahead::{SimpleFile, WriteAhead, WriteAheadOptions, WriteHandle};

use crate::candidate::{Candidate, Replayed, Setup};
use crate::cases::By;
use crate::tasks::{self, Load, Loaded};

const BATCH: usize = 4 << 20;
/// Bytes that it adds to a record.
const HEADER: usize = 20;

struct Ahead {
    wal: WriteAhead<SimpleFile>,
    handle: WriteHandle,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let mut wal = WriteAhead::<SimpleFile>::with_options(WriteAheadOptions {
        log_dir: setup.dir.join("log"),
        queue_capacity: 1024,
        max_batch_bytes: BATCH,
        ..Default::default()
    });
    wal.start()?;
    let handle = wal.writer()?;
    Ok(Box::new(Ahead { wal, handle }))
}

impl Candidate for Ahead {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        block_on(self.handle.write(record.to_vec()))?;
        Ok(())
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let each = (BATCH / (record.len() + HEADER)).max(1) as u64;
        let batches = (0..count.div_ceil(each)).map(|batch| {
            let records = usize::try_from(each.min(count - batch * each)).unwrap_or(1);
            async move {
                self.handle
                    .write_batch(vec![record.to_vec(); records])
                    .await
            }
        });
        let mut done = futures::stream::iter(batches).buffered(2);
        block_on(async {
            while let Some(batch) = done.next().await {
                batch?;
            }
            Ok(())
        })
    }

    /// Every batch was synced.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        let mut stream = self.wal.create_stream()?;
        block_on(async {
            while let Some(record) = stream.next().await {
                replayed.add(&record?.1);
            }
            anyhow::Ok(())
        })?;
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn fetch(&self, numbers: &[u64], _by: By) -> Result<Replayed> {
        let mut places = Vec::new();
        let mut stream = self.wal.create_stream()?;
        block_on(async {
            while let Some(record) = stream.next().await {
                places.push(record?.0);
            }
            anyhow::Ok(())
        })?;
        let place = |number: &u64| Some(*places.get(usize::try_from(*number).ok()?)?);
        let wanted: Option<Vec<_>> = numbers.iter().map(place).collect();
        let wanted = wanted.context("records are missing")?;
        let begun = Instant::now();
        let mut fetched = Replayed::default();
        for place in wanted {
            fetched.add(&self.wal.read(place.file_id, place.file_offset)?);
        }
        fetched.took = begun.elapsed();
        Ok(fetched)
    }

    fn tasks(&self, load: &Load) -> Result<Loaded> {
        let handle = self.handle.clone();
        tasks::run(load, move |record| {
            let handle = handle.clone();
            async move {
                handle.write(record.to_vec()).await?;
                Ok(())
            }
        })
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Ahead { wal, handle } = *self;
        drop(wal);
        drop(handle); // the last handle waits for the writer thread
        Ok(())
    }
}
