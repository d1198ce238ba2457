//! Async tasks that append, each awaiting its own durability, on a small runtime of tokio.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use hdrhistogram::Histogram;

/// Threads of the runtime.
const WORKERS: usize = 2;

/// How much is appended, and by how many.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// Tasks, or threads.
    pub(crate) callers: usize,
    /// What each appends, again and again.
    pub(crate) record: Bytes,
    /// Before this nothing is counted.
    pub(crate) from: Instant,
    /// Then everybody stops.
    pub(crate) until: Instant,
}

/// What became durable.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Appends, those outside the window included.
    pub(crate) appends: u64,
    /// Nanoseconds from call to durable, of those within.
    pub(crate) latency: Histogram<u64>,
}

impl Loaded {
    /// Nothing yet.
    pub(crate) fn new() -> Result<Self> {
        Ok(Loaded {
            appends: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)?,
        })
    }

    /// Counts an append that took so long.
    pub(crate) fn add(&mut self, took: Duration) -> Result<()> {
        let nanos = u64::try_from(took.as_nanos())?;
        self.latency.saturating_record(nanos);
        Ok(())
    }
}

/// `append` returns when the record is durable.
pub(crate) fn run<F, R>(load: &Load, append: F) -> Result<Loaded>
where
    F: Fn(Bytes) -> R + Clone + Send + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .build()?;
    let mut loaded = Loaded::new()?;
    runtime.block_on(async {
        let spawn = |_| tokio::spawn(task(load.clone(), append.clone()));
        let running: Vec<_> = (0..load.callers).map(spawn).collect();
        for task in running {
            let (appends, latency) = task.await??;
            loaded.appends += appends;
            for took in latency {
                loaded.add(took)?;
            }
        }
        Ok(loaded)
    })
}

/// Latencies are listed, for a thousand histograms would not fit any cache.
async fn task<F, R>(load: Load, append: F) -> Result<(u64, Vec<Duration>)>
where
    F: Fn(Bytes) -> R,
    R: Future<Output = Result<()>>,
{
    let (mut appends, mut latency) = (0, Vec::new());
    loop {
        let begun = Instant::now();
        append(load.record.clone()).await?;
        let now = Instant::now();
        appends += 1;
        if now >= load.until {
            return Ok((appends, latency));
        }
        if begun >= load.from {
            latency.push(now - begun);
        }
    }
}
