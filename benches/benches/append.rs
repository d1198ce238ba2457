//! Appending from one thread: in bulk with one sync at the end, and alone and durable;
//! beside the raw file with the same bytes and the same syncs.

mod common;
mod floor;

use std::hint::black_box;
use std::time::Duration;

use common::{Outcome, fresh_wal, must, noise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use floor::Floor;
use wal_core::{Durability, Options, Wal};

/// What one bulk iteration writes.
const BULK: usize = 8 << 20;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);

fn append(criterion: &mut Criterion) {
    must(bulk(criterion));
    must(lone(criterion));
}

/// Records are handed over one by one, and made durable together at the end.
fn bulk(criterion: &mut Criterion) -> Outcome<()> {
    let mut group = criterion.benchmark_group("bulk, one sync at the end");
    group.throughput(Throughput::Bytes(BULK as u64));
    group
        .sample_size(10)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE);
    for (name, bytes) in [("128 B", 128), ("1 KiB", 1 << 10), ("256 KiB", 256 << 10)] {
        let record = noise(bytes);
        let (wal, _dir) = fresh_wal(Options::default())?;
        group.bench_function(BenchmarkId::new("wal", name), |bencher| {
            bencher.iter(|| must(append_bulk(&wal, black_box(&record))));
        });
    }
    let mut floor = Floor::new(64 << 20)?;
    let bytes = noise(1 << 20);
    group.bench_function("raw file, 1 MiB writes", |bencher| {
        bencher.iter(|| {
            for _ in 0..BULK >> 20 {
                must(floor.write(black_box(&bytes)));
            }
            must(floor.sync());
        });
    });
    group.finish();
    Ok(())
}

fn append_bulk(wal: &Wal, record: &[u8]) -> wal_core::Result<()> {
    for _ in 0..BULK / record.len() {
        drop(wal.append_with(record, Durability::Accepted)?);
    }
    // What was measured is not needed any more: old segments go.
    wal.release(wal.sync()?)
}

/// Each record is durable before the next is appended.
fn lone(criterion: &mut Criterion) -> Outcome<()> {
    let mut group = criterion.benchmark_group("lone durable 1 KiB");
    group.throughput(Throughput::Elements(1));
    group
        .sample_size(20)
        .warm_up_time(WARM_UP)
        .measurement_time(MEASURE);
    let record = noise(1 << 10);
    let (wal, _dir) = fresh_wal(Options::default())?;
    group.bench_function("wal", |bencher| {
        bencher.iter(|| must(wal.commit(black_box(record.as_slice()))));
    });
    let mut floor = Floor::new(64 << 20)?;
    group.bench_function("raw file, one write and fdatasync", |bencher| {
        bencher.iter(|| {
            must(floor.write(black_box(&record)));
            must(floor.sync());
        });
    });
    group.finish();
    Ok(())
}

criterion_group!(benches, append);
criterion_main!(benches);
