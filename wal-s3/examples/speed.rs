//! How fast a log on an object store is, on a simulated one with stated latencies:
//!
//! ```sh
//! cargo run --release -p wal-s3 --features sim --example speed             # every case
//! cargo run --release -p wal-s3 --features sim --example speed -- replay   # those with that word
//! ```
//!
//! `s3` answers an upload and a download after 20 ms (median; 60 ms at p99, lognormal), `express`
//! after 4 ms (10 ms), and moves 100 and 200 MB/s a request. CPU time is that of the whole
//! process, simulation included.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wal_core::{Lsn, Wal};
use wal_s3::sim::{Latency, Profile, SimStore};
use wal_s3::{Hedge, ObjectStorage, Options, Prices, Requests};

type Failure = Box<dyn std::error::Error>;
type Case = fn(&str) -> Result<(), Failure>;

const S3: (&str, Profile) = ("s3", Profile::S3);
const EXPRESS: (&str, Profile) = ("express", Profile::EXPRESS);
/// Every request takes exactly as long: counts round trips.
const FLAT: (&str, Profile) = ("every request 20 ms", FLAT_PROFILE);
const FLAT_LATENCY: Latency = Latency {
    median: Duration::from_millis(20),
    p99: Duration::from_millis(20),
};
const FLAT_PROFILE: Profile = Profile {
    put: FLAT_LATENCY,
    get: FLAT_LATENCY,
    list: FLAT_LATENCY,
    delete: FLAT_LATENCY,
    bytes_per_second: u64::MAX,
};

fn main() -> Result<(), Failure> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|it| name.contains(it));
    let cases: [(&str, Case); 10] = [
        ("closed loop, 256 writers of 1 KiB", |name| {
            closed(name, S3, 256, 1 << 10, Hedge::Off)
        }),
        ("closed loop, 256 writers of 1 KiB, hedged", |name| {
            closed(name, S3, 256, 1 << 10, Hedge::Adaptive)
        }),
        ("closed loop, 256 writers of 16 KiB", |name| {
            closed(name, S3, 256, 16 << 10, Hedge::Off)
        }),
        ("closed loop, 256 writers of 16 KiB", |name| {
            closed(name, EXPRESS, 256, 16 << 10, Hedge::Off)
        }),
        ("one writer of 1 KiB", |name| {
            closed(name, S3, 1, 1 << 10, Hedge::Off)
        }),
        ("open loop, 131 MB/s of 16 KiB", |name| {
            open_loop(name, S3, Hedge::Off)
        }),
        ("open loop, 131 MB/s of 16 KiB, hedged", |name| {
            open_loop(name, S3, Hedge::Adaptive)
        }),
        ("reopen after a kill, 100 MiB", |name| reopen(name, FLAT)),
        ("replay 256 MiB", |name| replay(name, S3)),
        ("bulk 256 MiB of 1 KiB", |name| bulk(name, S3)),
    ];
    for (name, case) in cases {
        if chosen(name) {
            case(name)?;
        }
    }
    Ok(())
}

fn open(store: SimStore, hedge: Hedge) -> Result<(Wal, ObjectStorage), Failure> {
    open_with(store, hedge, 256 << 20)
}

fn open_with(
    store: SimStore,
    hedge: Hedge,
    segment_bytes: u64,
) -> Result<(Wal, ObjectStorage), Failure> {
    let options = Options {
        hedge,
        take_over: true,
        ..Options::default()
    };
    let storage = ObjectStorage::new(Arc::new(store), "log", options)?;
    let options = wal_core::Options {
        segment_bytes,
        ..wal_core::Options::default()
    };
    let (wal, _) = Wal::open(storage.clone(), options)?;
    Ok((wal, storage))
}

/// Each writer appends again when its last append is durable.
fn closed(
    name: &str,
    (store, profile): (&str, Profile),
    writers: u64,
    bytes: usize,
    hedge: Hedge,
) -> Result<(), Failure> {
    const FOR: Duration = Duration::from_secs(6);
    let (wal, storage) = open(SimStore::new(1).with_profile(profile), hedge)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let payload = bytes::Bytes::from(vec![7u8; bytes]);
    let write = |wal: Wal, payload: bytes::Bytes, until: Instant| async move {
        let mut took = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            wal.append(payload.clone())?.await?;
            took.push(begun.elapsed());
        }
        Ok::<_, wal_core::Error>(took)
    };
    let phase = |time: Duration| -> Result<Vec<Duration>, Failure> {
        let until = Instant::now() + time;
        let tasks: Vec<_> = (0..writers)
            .map(|_| runtime.spawn(write(wal.clone(), payload.clone(), until)))
            .collect();
        let mut took = Vec::new();
        for task in tasks {
            took.extend(runtime.block_on(task)??);
        }
        Ok(took)
    };
    phase(Duration::from_secs(1))?;
    let before = (storage.requests(), cpu(), Instant::now());
    let took = phase(FOR)?;
    report(name, store, took, bytes, before, &storage);
    Ok(())
}

/// Appends come at a steady rate, whatever becomes of them.
fn open_loop(name: &str, (store, profile): (&str, Profile), hedge: Hedge) -> Result<(), Failure> {
    const BYTES: usize = 16 << 10;
    const EVERY: Duration = Duration::from_micros(125); // 131 MB/s
    const COUNT: u32 = 48_000;
    let (wal, storage) = open(SimStore::new(1).with_profile(profile), hedge)?;
    let payload = bytes::Bytes::from(vec![7u8; BYTES]);
    let run = |count: u32| -> Result<Vec<Duration>, Failure> {
        let (sender, commits) = std::sync::mpsc::sync_channel(1 << 16);
        let waiter = std::thread::spawn(move || {
            let mut took = Vec::new();
            while let Ok((due, commit)) = commits.recv() {
                let commit: wal_core::Commit = commit;
                commit.wait()?;
                let due: Instant = due;
                took.push(due.elapsed());
            }
            Ok::<_, wal_core::Error>(took)
        });
        let begun = Instant::now();
        for n in 0..count {
            let due = begun + EVERY * n;
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(early);
            }
            sender.send((due, wal.append(payload.clone())?))?;
        }
        drop(sender);
        Ok(waiter.join().map_err(|_| "the waiter panicked")??)
    };
    run(8_000)?;
    let before = (storage.requests(), cpu(), Instant::now());
    let took = run(COUNT)?;
    report(name, store, took, BYTES, before, &storage);
    Ok(())
}

/// How many round trips lie between an open and the first append that is durable.
fn reopen(name: &str, (store, profile): (&str, Profile)) -> Result<(), Failure> {
    let bucket = SimStore::new(1).with_profile(profile);
    let writer = bucket.client("writer");
    let (wal, _) = open_with(writer.clone(), Hedge::Off, 64 << 20)?;
    fill(&wal, 100 << 20)?;
    writer.kill();
    std::mem::forget(wal);
    let begun = Instant::now();
    let (wal, storage) = open(bucket.client("successor"), Hedge::Off)?;
    let opened = begun.elapsed();
    wal.commit("first")?;
    let took = begun.elapsed();
    let trips = took.as_secs_f64() / profile.put.median.as_secs_f64();
    println!(
        "{store}: {name}: open {opened:.0?}, first durable append after {took:.0?}: {trips:.1} \
         round trips; {}",
        words(&storage.requests())
    );
    Ok(())
}

fn replay(name: &str, (store, profile): (&str, Profile)) -> Result<(), Failure> {
    let bucket = SimStore::new(1).with_profile(profile);
    let (wal, storage) = open(bucket.client("writer"), Hedge::Off)?;
    fill(&wal, 256 << 20)?;
    let objects = storage.requests().puts;
    wal.close()?;
    drop(storage);
    let begun = Instant::now();
    let options = Options::default();
    let storage = ObjectStorage::new(Arc::new(bucket.client("reader")), "log", options)?;
    let view = Wal::open_read_only(storage.clone())?;
    let opened = begun.elapsed();
    let mut bytes = 0;
    for record in view.reader(Lsn::ZERO)? {
        bytes += record?.payload.len();
    }
    let took = begun.elapsed();
    println!(
        "{store}: {name}: {} MiB verified in {took:.0?} ({opened:.0?} of it to open), {objects} \
         objects; {}",
        bytes >> 20,
        words(&storage.requests())
    );
    Ok(())
}

fn bulk(name: &str, (store, profile): (&str, Profile)) -> Result<(), Failure> {
    let (wal, storage) = open(SimStore::new(1).with_profile(profile), Hedge::Off)?;
    let before = (storage.requests(), cpu(), Instant::now());
    fill(&wal, 256 << 20)?;
    let took = before.2.elapsed();
    let used = storage.requests().since(&before.0);
    println!(
        "{store}: {name}: {:.0} MB/s, {:.4} bytes uploaded per byte, {:.2} us CPU an append; {}",
        (256 << 20) as f64 / 1e6 / took.as_secs_f64(),
        used.bytes_up as f64 / (256 << 20) as f64,
        (cpu() - before.1).as_secs_f64() * 1e6 / (256 << 10) as f64,
        words(&used)
    );
    Ok(())
}

fn fill(wal: &Wal, bytes: usize) -> Result<(), wal_core::Error> {
    let payload = bytes::Bytes::from(vec![7u8; 1 << 10]);
    for _ in 0..bytes >> 10 {
        drop(wal.append(payload.clone())?); // all are durable after the sync
    }
    wal.sync().map(|_| ())
}

fn report(
    name: &str,
    store: &str,
    mut took: Vec<Duration>,
    bytes: usize,
    (requests, cpu_before, begun): (Requests, Duration, Instant),
    storage: &ObjectStorage,
) {
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |part: f64| {
        let index = (took.len() as f64 * part) as usize;
        took.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let count = took.len() as f64;
    let used = storage.requests().since(&requests);
    println!(
        "{store}: {name}: {:.0}/s, {:.1} MB/s, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms, {:.4} \
         bytes uploaded per byte, {:.2} us CPU an append; {}",
        count / seconds,
        count * bytes as f64 / 1e6 / seconds,
        at(0.5),
        at(0.99),
        at(0.999),
        used.bytes_up as f64 / (count * bytes as f64),
        (cpu() - cpu_before).as_secs_f64() * 1e6 / count,
        words(&used)
    );
}

fn words(used: &Requests) -> String {
    format!(
        "{} PUT, {} GET, {} LIST, {} hedges, ${:.6}",
        used.puts,
        used.gets,
        used.lists,
        used.hedges,
        used.dollars(&Prices::S3_STANDARD)
    )
}

/// CPU time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
