//! `raft-engine`: `Engine::write` with `sync`; concurrent writes share a sync.
//!
//! Entries are protobuf messages of the caller's own making; here a message of the protobuf
//! library itself serves, which has a number and bytes. Indices of a region must ascend, so every
//! thread has a region. Compression is off: payloads are random. Read-ahead in recovery is 1 MiB
//! instead of 16 KiB.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use protobuf::descriptor::UninterpretedOption;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::candidate::{Candidate, Replayed, Setup};

/// Payload bytes of one write in bulk.
const BATCH: usize = 1 << 20;
/// Entries that are fetched at once in replay.
const FETCH: u64 = 1024;

struct Message;

impl MessageExt for Message {
    type Entry = UninterpretedOption;

    fn index(entry: &Self::Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

fn entry(index: u64, record: &[u8]) -> UninterpretedOption {
    let mut entry = UninterpretedOption::new();
    entry.set_positive_int_value(index);
    entry.set_string_value(record.to_vec());
    entry
}

struct Raft {
    engine: Engine,
    /// The next index of each region; a region belongs to one thread.
    next: Vec<Mutex<u64>>,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    let dir = setup.dir.join("log");
    let mut config = Config {
        dir: dir.to_str().context("the directory is not UTF-8")?.into(),
        batch_compression_threshold: ReadableSize(0),
        recovery_read_block_size: ReadableSize::mb(1),
        ..Config::default()
    };
    if let Some(segment) = setup.segment {
        config.target_file_size = ReadableSize(segment);
    }
    let engine = Engine::open(config)?;
    let regions = 1..=setup.threads as u64;
    let next = regions.map(|region| engine.last_index(region).map_or(1, |last| last + 1));
    let next = next.map(Mutex::new).collect();
    Ok(Box::new(Raft { engine, next }))
}

impl Raft {
    fn write(&self, thread: usize, record: &[u8], count: u64, sync: bool) -> Result<()> {
        let mut next = self.next[thread].lock();
        let entries: Vec<_> = (*next..*next + count).map(|i| entry(i, record)).collect();
        *next += count;
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Message>(thread as u64 + 1, &entries)?;
        self.engine.write(&mut batch, sync)?;
        Ok(())
    }
}

impl Candidate for Raft {
    fn append(&self, thread: usize, record: &Bytes) -> Result<()> {
        self.write(thread, record, 1, true)
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let each = (BATCH / record.len()).max(1) as u64;
        let mut left = count;
        while left > 0 {
            let records = each.min(left);
            left -= records;
            self.write(0, record, records, left == 0)?;
        }
        Ok(())
    }

    /// The last write has done it: `Engine::sync` writes an empty batch, which returns at once.
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        let last: HashMap<u64, u64> = (1..=self.next.len() as u64)
            .filter_map(|region| Some((region, self.engine.last_index(region)?)))
            .collect();
        for (region, last) in last {
            let mut from = self.engine.first_index(region).context("no first index")?;
            while from <= last {
                let to = (from + FETCH).min(last + 1);
                let mut entries = Vec::new();
                let engine = &self.engine;
                engine.fetch_entries_to::<Message>(region, from, to, None, &mut entries)?;
                for entry in &entries {
                    replayed.add(entry.get_string_value());
                }
                from = to;
            }
        }
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
