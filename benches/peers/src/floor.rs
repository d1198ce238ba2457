//! The floor: what the hardware and the kernel charge for the same promise, without a log.
//!
//! No format, no recovery, no rotation: nothing can be read back from it as records. All of its
//! system calls are in this file (and one `futex` pair in `queue.rs`):
//!
//! | | buffered | direct |
//! |---|---|---|
//! | open | `open(O_RDWR)`, `write` of zeros over the whole file, `fsync` | and `open(O_DIRECT\|O_DSYNC)`; `O_DIRECT` alone for bulk |
//! | one thread, durable | `pwrite` of whole blocks, `fdatasync` | `pwrite` of whole blocks |
//! | many threads | a leader does that once per group | likewise |
//! | bulk | `pwrite` of 1 MiB each, `fdatasync` at the end | likewise |
//! | replay | `pread` of 1 MiB each | - |
//! | random reads | `pread` of a record | - |
//!
//! Every block was written before it is timed, so that no sync has to allocate or to convert
//! one (`fallocate` would leave that to the sync). In bulk and when reading, a CRC-32C of each
//! record is computed: no log may go without. Durable writes wrap around at the end of the file.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use parking_lot::Mutex;

use crate::aligned::{Aligned, BLOCK};
use crate::candidate::{Candidate, Replayed, Setup};
use crate::cases::By;
use crate::queue::{Group, Queue, Sink};

/// Bytes of a write in bulk, and of a read.
const CHUNK: usize = 1 << 20;
/// Bytes of a record that is read alone.
const FETCHED: usize = 1 << 10;
/// Bytes that are zero-written for durable appends.
const DURABLE_FILE: u64 = 128 << 20;

/// A file of written blocks.
struct Blocks {
    file: File,
    direct: bool,
    bytes: u64,
    next: u64,
    /// A record that does not fill its blocks is copied here.
    block: Aligned,
}

impl Blocks {
    /// Durable when it returns.
    fn write(&mut self, blocks: &[u8]) -> Result<()> {
        self.put(blocks)?;
        if !self.direct {
            self.file.sync_data()?; // fdatasync; O_DSYNC has done it within the write
        }
        Ok(())
    }

    fn put(&mut self, blocks: &[u8]) -> Result<()> {
        if self.next + blocks.len() as u64 > self.bytes {
            self.next = 0;
        }
        self.file.write_all_at(blocks, self.next)?; // pwrite
        self.next += blocks.len() as u64;
        Ok(())
    }
}

impl Sink for Blocks {
    fn write(&mut self, group: &mut Group) -> Result<()> {
        Blocks::write(self, group.bytes.blocks())
    }
}

/// The floor.
struct Floor {
    queue: Queue<Blocks>,
    threads: usize,
    bulk: Mutex<Aligned>,
    solo: AtomicU64,
    /// Bytes of a record in bulk.
    record: AtomicU64,
}

/// Positioned writes into zero-written blocks, `fdatasync`.
pub(crate) fn buffered(setup: &Setup) -> Result<Box<dyn Candidate>> {
    open(setup, false)
}

/// The same blocks, `O_DIRECT|O_DSYNC`.
pub(crate) fn direct(setup: &Setup) -> Result<Box<dyn Candidate>> {
    open(setup, true)
}

fn open(setup: &Setup, direct: bool) -> Result<Box<dyn Candidate>> {
    let path = setup.dir.join("floor");
    let bytes = if setup.bulk {
        setup.bytes.next_multiple_of(CHUNK as u64) + CHUNK as u64
    } else {
        DURABLE_FILE
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    let mut file = options.clone().create(true).truncate(false).open(&path)?;
    if file.metadata()?.len() < bytes {
        let zeros = vec![0; CHUNK];
        for _ in 0..bytes / CHUNK as u64 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
    }
    if direct {
        // rustix 1.1 has another value for O_DSYNC: that of O_SYNC.
        let mut flags = libc::O_DIRECT;
        if !setup.bulk {
            flags |= libc::O_DSYNC;
        }
        let opened = options.custom_flags(flags).open(&path);
        file = opened.context("O_DIRECT on this file system")?;
    }
    Ok(Box::new(Floor {
        queue: Queue::new(Blocks {
            file,
            direct: direct && !setup.bulk,
            bytes,
            next: 0,
            block: Aligned::default(),
        }),
        threads: setup.threads,
        bulk: Mutex::new(Aligned::new(2 * CHUNK)),
        solo: AtomicU64::new(0),
        record: AtomicU64::new(0),
    }))
}

impl Candidate for Floor {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        if self.threads > 1 {
            return self.queue.submit(record);
        }
        self.solo.fetch_add(1, Ordering::Relaxed);
        self.queue.with(|blocks| {
            let whole =
                record.len().is_multiple_of(BLOCK) && record.as_ptr().align_offset(BLOCK) == 0;
            if whole {
                return blocks.write(record);
            }
            let mut block = std::mem::take(&mut blocks.block);
            block.clear();
            block.push(record);
            let done = blocks.write(block.blocks());
            blocks.block = block;
            done
        })
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        self.record.store(record.len() as u64, Ordering::Relaxed);
        let mut buffer = self.bulk.lock();
        for _ in 0..count {
            std::hint::black_box(crc32c::crc32c(record));
            buffer.push(record);
            if buffer.len() >= CHUNK {
                self.queue.with(|blocks| blocks.put(buffer.blocks()))?;
                buffer.clear();
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut buffer = self.bulk.lock();
        self.queue.with(|blocks| -> Result<()> {
            if buffer.len() > 0 {
                blocks.put(buffer.blocks())?;
                buffer.clear();
            }
            Ok(blocks.file.sync_data()?)
        })
    }

    /// Reads as much as there is, a checksum per 1 KiB.
    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut replayed = Replayed::default();
        let mut chunk = vec![0; CHUNK];
        self.queue.with(|blocks| -> Result<()> {
            for at in (0..blocks.bytes - CHUNK as u64).step_by(CHUNK) {
                blocks.file.read_exact_at(&mut chunk, at)?;
                for record in chunk.chunks(1024) {
                    std::hint::black_box(crc32c::crc32c(record));
                    replayed.add(record);
                }
            }
            Ok(())
        })?;
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    /// Its numbers are its positions.
    fn fetch(&self, numbers: &[u64], _by: By) -> Result<Replayed> {
        let begun = Instant::now();
        let mut fetched = Replayed::default();
        let mut record = vec![0; FETCHED];
        self.queue.with(|blocks| -> Result<()> {
            for number in numbers {
                blocks
                    .file
                    .read_exact_at(&mut record, number * FETCHED as u64)?; // pread
                std::hint::black_box(crc32c::crc32c(&record));
                fetched.add(&record);
            }
            Ok(())
        })?;
        fetched.took = begun.elapsed();
        Ok(fetched)
    }

    fn syncs(&self) -> Option<u64> {
        Some(self.queue.groups() + self.solo.load(Ordering::Relaxed))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
