//! The seed corpus, and how it was made: `fuzz --seeds` writes it anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use wal_core::conformance::model::random;
use wal_core::{Options, Wal};
use wal_fs::sim::{Metadata, SimDisk};
use wal_streaming::{
    Acknowledge, Batch, Checkpoint, OffsetRange, Partition, RecordRef, Store, WalStore,
};

/// Where a target's corpus lies.
pub fn place(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
}

/// A target's corpus; empty if there is none.
pub fn read(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<_> = fs::read_dir(place(target))?
        .map(|entry| entry.map(|it| it.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    paths.iter().map(fs::read).collect()
}

/// Writes all of them.
pub fn write() -> Result<(), Box<dyn std::error::Error>> {
    for target in ["histories_storage", "histories_disk"] {
        for seed in 0..8 {
            let choose = &mut random(seed);
            let bytes: Vec<u8> = (0..400).map(|_| choose(256) as u8).collect();
            save(target, seed, &bytes)?;
        }
    }
    for seed in 0..8 {
        let choose = &mut random(100 + seed);
        let bytes: Vec<u8> = (0..120).map(|_| choose(256) as u8).collect();
        save("directory", seed, &bytes)?;
    }
    for seed in 0..8 {
        let choose = &mut random(200 + seed);
        let bytes: Vec<u8> = (0..90).map(|_| choose(256) as u8).collect();
        save("bucket", seed, &bytes)?;
    }
    for target in ["segments", "salvage"] {
        for compress in [false, true] {
            save(target, u64::from(compress), &segments(compress, 0)?)?;
        }
        save(target, 2, &segments(false, 1)?)?;
    }
    save("checkpoint", 0, &records(&checkpoint()?)?)?;
    save("envelope", 0, &records(&blocks()?)?)?;
    Ok(())
}

fn save(target: &str, number: u64, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(place(target))?;
    fs::write(place(target).join(format!("seed-{number}")), bytes)
}

/// A small log with segments as short as they can be: the files of one, without their padding.
/// The version of the newest is raised by `newer`.
fn segments(compress: bool, newer: u8) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let limits = wal_core::Limits {
        align: 1,
        in_flight: 1,
        append_bytes: 1 << 26,
        ..wal_core::Limits::default()
    };
    let disk = wal_core::sim::SimStorage::with_limits(3, limits);
    let options = Options {
        compression: match compress {
            true => wal_core::Compression::Lz4,
            false => wal_core::Compression::None,
        },
        ..Options::default()
    };
    for round in 0..3_u8 {
        let (wal, _) = Wal::open(disk.clone(), options.clone())?;
        wal.commit([vec![round; 300], vec![b'b'; 10]])?;
        wal.commit("c")?;
        wal.set_hold("held", wal.oldest())?;
        wal.commit(vec![round, 1, 2, 3])?;
        match round {
            0 => wal.close()?,
            _ => disk.kill(),
        }
    }
    let mut out = Vec::new();
    let mut newest = 0;
    for (id, length) in disk.segments() {
        use wal_core::Storage;
        let mut read = disk.read(id, 0..length);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(bytes) = read.as_mut().poll(&mut context) {
            let bytes = bytes?;
            out.extend_from_slice(&(bytes.len() as u16 | 0x8000).to_le_bytes());
            newest = out.len();
            out.extend_from_slice(&bytes);
        }
    }
    out[newest + 8] += newer;
    Ok(out)
}

fn open() -> Result<Wal, Box<dyn std::error::Error>> {
    let disk = SimDisk::new(1, Metadata::Journalled);
    Ok(Wal::open(disk.storage("/log")?, Options::default())?.0)
}

fn checkpoint() -> Result<Wal, Box<dyn std::error::Error>> {
    let wal = open()?;
    let config = [("batch".to_owned(), "10".to_owned())];
    let mut checkpoint = Checkpoint::open(wal.clone(), "seed", &config, false)?;
    for id in 0..4 {
        let range = |index| OffsetRange {
            partition: Partition::new("topic", index),
            from: id * 10,
            until: id * 10 + 10,
        };
        let batch = Batch {
            id,
            ranges: vec![range(0), range(1)],
        };
        checkpoint.plan(batch)?;
        if id < 3 {
            checkpoint.done(None)?;
        }
    }
    Ok(wal)
}

fn blocks() -> Result<Wal, Box<dyn std::error::Error>> {
    let wal = open()?;
    let mut store = WalStore::open(wal.clone(), Acknowledge::Durable)?;
    for number in 0..4_u64 {
        let mut block = store.begin();
        for index in 0..2 {
            block.push(RecordRef {
                partition: &Partition::new("topic", index),
                offset: number,
                key: (index == 1).then_some(b"key"),
                value: b"value",
            });
        }
        store.store(block)?.wait()?;
    }
    Ok(wal)
}

fn records(wal: &Wal) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut out = Vec::new();
    for record in wal.reader(wal.oldest())? {
        let payload = record?.payload;
        out.extend_from_slice(&u16::try_from(payload.len())?.to_le_bytes());
        out.extend_from_slice(&payload);
    }
    Ok(out)
}
