//! Takes one sample of one log in one case.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::aligned::Aligned;
use crate::candidate::{Candidate, Peer, Replayed, Setup};
use crate::cases::{Amount, MANY_PAYLOAD, State, Work};
use crate::device::{settle, written};
use crate::killed;
use crate::tasks::{Load, Loaded};

/// One measurement.
#[derive(Debug)]
pub(crate) struct Sample {
    /// In the unit of the case.
    pub(crate) value: f64,
    /// Nanoseconds from call to durable.
    pub(crate) latency: Option<Histogram<u64>>,
    /// Where the log counts its syncs.
    pub(crate) syncs_per_append: Option<f64>,
    /// Seconds of CPU per GiB of payload, of the whole process.
    pub(crate) cpu: Option<f64>,
    /// Bytes that reached the block device per byte of payload.
    pub(crate) device: Option<f64>,
}

impl Sample {
    fn of(value: f64) -> Self {
        Sample {
            value,
            latency: None,
            syncs_per_append: None,
            cpu: None,
            device: None,
        }
    }
}

/// A record of random bytes, so that nothing compresses it, on a block.
pub(crate) fn record(size: usize) -> Bytes {
    struct Owner(Aligned);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            self.0.filled()
        }
    }
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut aligned = Aligned::new(size + 8);
    while aligned.len() < size {
        let random = xorshift(&mut state).to_le_bytes();
        aligned.push(&random[..random.len().min(size - aligned.len())]);
    }
    Bytes::from_owner(Owner(aligned))
}

/// The setup of a case.
pub(crate) fn setup(dir: &Path, work: Work, amount: &Amount) -> Setup {
    let (bytes, threads, bulk) = match work {
        Work::Durable { threads, .. } => (0, threads, false),
        Work::Tasks { .. } => (0, 2, false),
        Work::Rotation { .. } => (0, 1, false),
        Work::Bulk { .. } => (amount.bulk, 1, true),
        Work::Reopen { state, .. } => match state {
            State::Closed => (amount.log, 1, true),
            State::Many => (amount.segments * MANY_PAYLOAD, 1, true),
            // So that the last of the segments of `wal-core` is nearly full and not sealed.
            State::Killed => (amount.log - amount.log / 40, 1, true),
        },
        Work::Replay { .. } | Work::Fetch { .. } => (amount.log, 1, true),
    };
    Setup {
        dir: dir.to_owned(),
        bytes,
        threads,
        bulk,
        kept: bulk,
        segment: work.segment(),
    }
}

/// Writes the log that is replayed, read or reopened later.
pub(crate) fn prepare(peer: &Peer, setup: &Setup, size: usize) -> Result<()> {
    let log = (peer.open)(setup)?;
    log.append_many(&record(size), setup.bytes / size as u64)?;
    log.sync()?;
    log.close()
}

/// Takes a sample. Where the work says so, it needs what [`prepare`] has written.
pub(crate) fn sample(peer: &Peer, setup: &Setup, work: Work, amount: &Amount) -> Result<Sample> {
    settle(&setup.dir)?;
    match work {
        Work::Durable { size, .. } => loaded(peer, setup, size, |log| {
            let loaded = durable(log, &load(setup.threads, size, amount))?;
            let value = loaded.latency.len() as f64 / amount.window.as_secs_f64();
            Ok((value, loaded))
        }),
        Work::Tasks { tasks, size } => loaded(peer, setup, size, |log| {
            let loaded = log.tasks(&load(tasks, size, amount))?;
            let value = loaded.latency.len() as f64 / amount.window.as_secs_f64();
            Ok((value, loaded))
        }),
        Work::Rotation { size } => loaded(peer, setup, size, |log| {
            let loaded = rotation(log, &record(size), amount.rotated)?;
            let value = loaded.latency.value_at_quantile(0.999) as f64 / 1e3;
            Ok((value, loaded))
        }),
        Work::Bulk { size } => {
            let log = (peer.open)(setup)?;
            let record = record(size);
            let before = written(&setup.dir)?;
            let (begun, cpu) = (Instant::now(), cpu_time());
            log.append_many(&record, setup.bytes / size as u64)?;
            log.sync()?;
            let took = begun.elapsed().as_secs_f64();
            let cpu = cpu_per_gib(cpu, setup.bytes);
            let device = device_per_byte(&setup.dir, before, setup.bytes)?;
            log.close()?;
            Ok(Sample {
                cpu,
                device,
                ..Sample::of(setup.bytes as f64 / took / 1e9)
            })
        }
        Work::Replay { size } => {
            let cpu = cpu_time(); // with opening, for some read while they open
            let log = (peer.open)(setup)?;
            let replayed = log.replay()?;
            let cpu = cpu_per_gib(cpu, setup.bytes);
            log.close()?;
            let value = given_back(&replayed, setup.bytes / size as u64, size)? / 1e9;
            Ok(Sample {
                cpu,
                ..Sample::of(value)
            })
        }
        Work::Fetch { size, by } => {
            let numbers = numbers(amount.reads, setup.bytes / size as u64);
            let log = (peer.open)(setup)?;
            let fetched = log.fetch(&numbers, by)?;
            log.close()?;
            let value = given_back(&fetched, numbers.len() as u64, size)? / size as f64;
            Ok(Sample::of(value))
        }
        Work::Reopen { size, state } => {
            if state == State::Killed {
                killed::leave(peer, setup)?;
                settle(&setup.dir)?;
            }
            let record = record(size);
            let begun = Instant::now();
            let log = (peer.open)(setup)?;
            log.append(0, &record)?;
            let took = begun.elapsed();
            log.close()?;
            Ok(Sample::of(took.as_secs_f64() * 1e3))
        }
    }
}

/// Bytes per second, if it is exactly what was asked for.
fn given_back(replayed: &Replayed, records: u64, size: usize) -> Result<f64> {
    ensure!(
        (replayed.records, replayed.bytes) == (records, records * size as u64),
        "gave back {} of {records} records",
        replayed.records
    );
    Ok(replayed.bytes as f64 / replayed.took.as_secs_f64())
}

/// Opens a log, loads it with durable appends, and says what that cost.
fn loaded(
    peer: &Peer,
    setup: &Setup,
    size: usize,
    run: impl FnOnce(&dyn Candidate) -> Result<(f64, Loaded)>,
) -> Result<Sample> {
    let log = (peer.open)(setup)?;
    let before = written(&setup.dir)?;
    let (syncs, cpu) = (log.syncs(), cpu_time());
    let (value, loaded) = run(&*log)?;
    let bytes = loaded.appends * size as u64;
    let cpu = cpu_per_gib(cpu, bytes);
    let synced = log.syncs().zip(syncs).map(|(after, before)| after - before);
    let device = device_per_byte(&setup.dir, before, bytes)?;
    log.close()?;
    Ok(Sample {
        syncs_per_append: synced.map(|syncs| syncs as f64 / loaded.appends as f64),
        latency: Some(loaded.latency),
        cpu,
        device,
        value,
    })
}

fn load(callers: usize, size: usize, amount: &Amount) -> Load {
    let from = Instant::now() + amount.warm_up;
    Load {
        callers,
        record: record(size),
        from,
        until: from + amount.window,
    }
}

/// Counts appends that become durable within the window, after the warm-up.
fn durable(log: &dyn Candidate, load: &Load) -> Result<Loaded> {
    let failed = AtomicBool::new(false);
    let work = |thread: usize| -> Result<Loaded> {
        let mut loaded = Loaded::new()?;
        let mut begun = Instant::now();
        while !failed.load(Ordering::Relaxed) {
            log.append(thread, &load.record)?;
            let now = Instant::now();
            loaded.appends += 1;
            if now >= load.until {
                break;
            }
            if now >= load.from {
                loaded.add(now - begun)?;
            }
            begun = now;
        }
        Ok(loaded)
    };
    let work = |thread| work(thread).inspect_err(|_| failed.store(true, Ordering::Relaxed));
    let mut all = Loaded::new()?;
    std::thread::scope(|scope| -> Result<()> {
        let spawn = |thread| {
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder.spawn_scoped(scope, move || work(thread))
        };
        let running: Vec<_> = (0..load.callers).map(spawn).collect::<Result<_, _>>()?;
        for thread in running {
            let done = thread.join().map_err(|_| anyhow!("an append panicked"))?;
            let done = done?;
            all.appends += done.appends;
            all.latency.add(done.latency)?;
        }
        Ok(())
    })?;
    Ok(all)
}

/// A fixed number of durable appends, so that every round has as many rotations; a sixteenth of
/// that before, uncounted.
fn rotation(log: &dyn Candidate, record: &Bytes, appends: u64) -> Result<Loaded> {
    let mut loaded = Loaded::new()?;
    for number in 0..appends + appends / 16 {
        let begun = Instant::now();
        log.append(0, record)?;
        loaded.appends += 1;
        if number >= appends / 16 {
            loaded.add(begun.elapsed())?;
        }
    }
    Ok(loaded)
}

/// The same random numbers below `end` for everybody.
fn numbers(count: usize, end: u64) -> Vec<u64> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(|| xorshift(&mut state) % end)
        .take(count)
        .collect()
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Seconds of CPU per GiB of `bytes` since then, of the whole process.
fn cpu_per_gib(since: Duration, bytes: u64) -> Option<f64> {
    let seconds = (cpu_time() - since).as_secs_f64();
    Some(seconds / (bytes as f64 / (1_u64 << 30) as f64))
}

/// Bytes that have reached the device since then, per byte of payload.
fn device_per_byte(dir: &Path, before: Option<u64>, bytes: u64) -> Result<Option<f64>> {
    let reached = written(dir)?
        .zip(before)
        .map(|(after, before)| after - before);
    Ok(reached.map(|reached| reached as f64 / bytes as f64))
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Duration::from_secs(seconds) + Duration::from_nanos(nanos)
}

/// Where `--child` (see `verify`) gets its log from.
pub(crate) fn by_name(name: &str) -> Result<&'static Peer> {
    let mut peers = crate::peers::ALL.iter();
    let found = peers.find(|peer| peer.name == name);
    found.with_context(|| format!("no log is called {name}"))
}
