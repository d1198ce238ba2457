//! Coming back: opening a log that was not closed, and reading all of it with every
//! checksum verified; beside reading the same files raw.

mod common;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{Outcome, fresh_dir, fresh_wal, must, noise};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use wal_core::{Append, Lsn, Options, Wal};
use wal_fs::FileStorage;

/// Several segments, and more than the processor's caches hold.
const BYTES: usize = 128 << 20;
const RECORD: usize = 1 << 10;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);

fn recovery(criterion: &mut Criterion) {
    must(measure(criterion));
}

fn measure(criterion: &mut Criterion) -> Outcome<()> {
    let left_behind = abandoned_log()?;
    let copy = copy_of(left_behind.path())?;
    let wal = open(copy.path())?;
    let mut group = criterion.benchmark_group("recovery");
    group
        .sample_size(10)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE);
    group.bench_function("open after a kill", |bencher| {
        bencher.iter_batched(
            || must(copy_of(left_behind.path())),
            |copy| (must(open(copy.path())), copy),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("replay, verified", |bencher| {
        bencher.iter(|| must(replay(&wal)));
    });
    group.bench_function("raw read of the same files", |bencher| {
        bencher.iter(|| must(read_raw(copy.path())));
    });
    group.finish();
    Ok(())
}

/// A log as a killed process leaves it: copied while its writer still holds it open.
fn abandoned_log() -> Outcome<tempfile::TempDir> {
    let (wal, dir) = fresh_wal(Options::default())?;
    let payload = noise(BYTES);
    for megabyte in payload.chunks(1 << 20) {
        let append: Append = megabyte.chunks(RECORD).collect();
        wal.commit(append)?;
    }
    copy_of(dir.path())
}

fn copy_of(dir: &Path) -> Outcome<tempfile::TempDir> {
    let copy = fresh_dir()?;
    for segment in segments(dir)? {
        if let Some(name) = segment.file_name() {
            fs::copy(&segment, copy.path().join(name))?;
        }
    }
    Ok(copy)
}

/// The files that hold the log. Others come and go while it is in use.
fn segments(dir: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        found.push(entry?.path());
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    found.sort();
    Ok(found)
}

fn open(dir: &Path) -> Outcome<Wal> {
    let (wal, _) = Wal::open(FileStorage::open(dir)?, Options::default())?;
    Ok(wal)
}

fn replay(wal: &Wal) -> Outcome<usize> {
    let mut bytes = 0;
    for record in wal.reader(Lsn::ZERO)? {
        bytes += record?.payload.len();
    }
    assert_eq!(bytes, BYTES, "the log does not hold what was written");
    Ok(bytes)
}

/// As many bytes as the log was given, in pieces that stay in the processor's cache.
fn read_raw(dir: &Path) -> Outcome<u64> {
    let mut piece = vec![0; 256 << 10];
    let mut left = BYTES as u64;
    for segment in segments(dir)? {
        let mut file = File::open(segment)?.take(left);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            left -= black_box(read) as u64;
        }
    }
    Ok(left)
}

criterion_group!(benches, recovery);
criterion_main!(benches);
