//! Takes one sample of one log in one case.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::aligned::Aligned;
use crate::candidate::{Candidate, Peer, Setup};
use crate::cases::{Amount, Work};

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
}

impl Sample {
    fn of(value: f64) -> Self {
        Sample {
            value,
            latency: None,
            syncs_per_append: None,
            cpu: None,
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
        // xorshift
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let random = state.to_le_bytes();
        aligned.push(&random[..random.len().min(size - aligned.len())]);
    }
    Bytes::from_owner(Owner(aligned))
}

/// The setup of a case.
pub(crate) fn setup(dir: &Path, work: Work, amount: &Amount) -> Setup {
    let (bytes, threads, bulk) = match work {
        Work::Durable { threads, .. } => (0, threads, false),
        Work::Bulk { .. } => (amount.bulk, 1, true),
        Work::Replay { .. } | Work::Reopen { .. } => (amount.log, 1, true),
    };
    Setup {
        dir: dir.to_owned(),
        bytes,
        threads,
        bulk,
    }
}

/// Waits until nothing is left to be written, so that no sample pays for another.
pub(crate) fn settle(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(dir)?)?)
}

/// Writes the log that is replayed or reopened later.
pub(crate) fn prepare(peer: &Peer, setup: &Setup, size: usize) -> Result<()> {
    let log = (peer.open)(setup)?;
    log.append_many(&record(size), setup.bytes / size as u64)?;
    log.sync()?;
    log.close()
}

/// Takes a sample. Replay and reopening need what [`prepare`] has written.
pub(crate) fn sample(peer: &Peer, setup: &Setup, work: Work, amount: &Amount) -> Result<Sample> {
    settle(&setup.dir)?;
    match work {
        Work::Durable { size, .. } => {
            let log = (peer.open)(setup)?;
            settle(&setup.dir)?;
            let sample = durable(&*log, setup.threads, &record(size), amount)?;
            log.close()?;
            Ok(sample)
        }
        Work::Bulk { size } => {
            let log = (peer.open)(setup)?;
            settle(&setup.dir)?;
            let record = record(size);
            let (begun, cpu) = (Instant::now(), cpu_time());
            log.append_many(&record, setup.bytes / size as u64)?;
            log.sync()?;
            let took = begun.elapsed().as_secs_f64();
            let cpu = (cpu_time() - cpu).as_secs_f64();
            log.close()?;
            Ok(Sample {
                cpu: Some(cpu / (setup.bytes as f64 / (1_u64 << 30) as f64)),
                ..Sample::of(setup.bytes as f64 / took / 1e9)
            })
        }
        Work::Replay { size } => {
            let log = (peer.open)(setup)?;
            let replayed = log.replay()?;
            log.close()?;
            let wanted = setup.bytes / size as u64;
            ensure!(
                (replayed.records, replayed.bytes) == (wanted, setup.bytes),
                "gave back {} of {wanted} records",
                replayed.records
            );
            let seconds = replayed.took.as_secs_f64();
            Ok(Sample::of(replayed.bytes as f64 / seconds / 1e9))
        }
        Work::Reopen { size } => {
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

/// Counts appends that become durable within the window, after the warm-up.
fn durable(log: &dyn Candidate, threads: usize, record: &Bytes, amount: &Amount) -> Result<Sample> {
    let from = Instant::now() + amount.warm_up;
    let until = from + amount.window;
    let failed = AtomicBool::new(false);
    let syncs = log.syncs();
    let work = |thread: usize| -> Result<(u64, Histogram<u64>)> {
        let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let mut all = 0;
        let mut begun = Instant::now();
        while !failed.load(Ordering::Relaxed) {
            log.append(thread, record)?;
            let now = Instant::now();
            all += 1;
            if now >= until {
                break;
            }
            if now >= from {
                let took = now.duration_since(begun);
                latency.saturating_record(u64::try_from(took.as_nanos())?);
            }
            begun = now;
        }
        Ok((all, latency))
    };
    let work = |thread| work(thread).inspect_err(|_| failed.store(true, Ordering::Relaxed));
    let mut all = 0;
    let mut latency = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
    std::thread::scope(|scope| -> Result<()> {
        let spawn = |thread| {
            let builder = std::thread::Builder::new().stack_size(256 << 10);
            builder.spawn_scoped(scope, move || work(thread))
        };
        let running: Vec<_> = (0..threads).map(spawn).collect::<Result<_, _>>()?;
        for thread in running {
            let done = thread.join().map_err(|_| anyhow!("an append panicked"))?;
            let (appends, its_latency) = done?;
            all += appends;
            latency.add(its_latency)?;
        }
        Ok(())
    })?;
    let synced = log.syncs().zip(syncs).map(|(after, before)| after - before);
    Ok(Sample {
        syncs_per_append: synced.map(|syncs| syncs as f64 / all as f64),
        value: latency.len() as f64 / amount.window.as_secs_f64(),
        latency: Some(latency),
        cpu: None,
    })
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
