//! `nodedb-wal`: `append` to a buffer, `sync` with `fsync`; `GroupCommitter` for threads.
//!
//! Its default, `O_DIRECT`, pads every sync to a block, and its readers stop at the padding: what
//! is acknowledged after it is not found again. So it is measured with `O_DIRECT` off, where it
//! keeps what it promised. The double-write buffer is off as well: it doubles the syncs, and a
//! record that was torn is found by its checksum without it. One thread uses the segmented log,
//! its interface for production; its `GroupCommitter` takes only the single-file writer.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use nodedb_wal::group_commit::PendingWrite;
use nodedb_wal::mmap_reader::MmapWalReader;
use nodedb_wal::segment::discover_segments;
use nodedb_wal::writer::{WalWriter, WalWriterConfig};
use nodedb_wal::{DwbMode, GroupCommitter, RecordType, SegmentedWal, SegmentedWalConfig};

use crate::candidate::{Candidate, Replayed, Setup};

const PUT: u32 = RecordType::Put as u32;

enum Writer {
    Group(GroupCommitter, Box<std::sync::Mutex<WalWriter>>),
    Segmented(Box<parking_lot::Mutex<SegmentedWal>>),
}

struct NodeDb {
    dir: PathBuf,
    writer: Writer,
}

pub(crate) fn open(setup: &Setup) -> Result<Box<dyn Candidate>> {
    open_as(setup, false)
}

/// As it comes.
pub(crate) fn open_direct(setup: &Setup) -> Result<Box<dyn Candidate>> {
    open_as(setup, true)
}

fn open_as(setup: &Setup, use_direct_io: bool) -> Result<Box<dyn Candidate>> {
    let mut config = SegmentedWalConfig::new(setup.dir.join("log"));
    config.writer_config = WalWriterConfig {
        use_direct_io,
        dwb_mode: Some(DwbMode::Off),
        ..WalWriterConfig::default()
    };
    let dir = config.wal_dir.clone();
    std::fs::create_dir_all(&dir)?;
    let writer = if setup.threads > 1 {
        let writer = WalWriter::open(&dir.join("log.wal"), config.writer_config)?;
        Writer::Group(GroupCommitter::new(), Box::new(writer.into()))
    } else {
        Writer::Segmented(Box::new(SegmentedWal::open(config)?.into()))
    };
    Ok(Box::new(NodeDb { dir, writer }))
}

impl Candidate for NodeDb {
    fn append(&self, _thread: usize, record: &Bytes) -> Result<()> {
        match &self.writer {
            Writer::Group(committer, writer) => {
                let write = PendingWrite {
                    record_type: PUT,
                    tenant_id: 1,
                    vshard_id: 0,
                    database_id: 0,
                    payload: record.to_vec(),
                };
                ensure!(committer.submit(writer, write)?.durable, "not durable");
            }
            Writer::Segmented(_) => self.append_many(record, 1)?,
        }
        self.sync()
    }

    fn append_many(&self, record: &Bytes, count: u64) -> Result<()> {
        let Writer::Segmented(wal) = &self.writer else {
            bail!("bulk has one thread");
        };
        let mut wal = wal.lock();
        for _ in 0..count {
            wal.append(PUT, 1, 0, 0, record)?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        if let Writer::Segmented(wal) = &self.writer {
            wal.lock().sync()?; // in a group every append was synced
        }
        Ok(())
    }

    fn replay(&self) -> Result<Replayed> {
        let begun = Instant::now();
        let mut files = vec![self.dir.join("log.wal")];
        if let Writer::Segmented(_) = self.writer {
            let segments = discover_segments(&self.dir)?.into_iter();
            files = segments.map(|segment| segment.path).collect();
        }
        let mut replayed = Replayed::default();
        for file in files {
            let mut reader = MmapWalReader::open(&file)?;
            while let Some(record) = reader.next_record()? {
                replayed.add(&record.payload);
            }
        }
        replayed.took = begun.elapsed();
        Ok(replayed)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.sync()
    }
}
