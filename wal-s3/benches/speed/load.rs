//! Writers that append all the time, while others measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use wal_core::{Error, Wal};
use wal_s3::sim::{Profile, SimStore};
use wal_s3::{Hedge, ObjectStorage, Options, Prices, Requests};

/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);

/// When appends come.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Each writer appends again when its last append is durable.
    Closed { writers: u64 },
    /// At a steady rate, whatever becomes of them; latency counts from when each was due.
    Open { every: Duration },
}

const WARMS_UP: u8 = 0;
const COUNTS: u8 = 1;
const ENDS: u8 = 2;

type Latencies = Result<Vec<Duration>, Error>;

/// Appends that go on until the load ends.
pub(crate) struct Load {
    wal: Wal,
    storage: ObjectStorage,
    runtime: Runtime,
    phase: Arc<AtomicU8>,
    writers: Vec<JoinHandle<Latencies>>,
    /// What the open took.
    opened: Requests,
    /// When counting began, and when it was last looked at.
    before: Moment,
    after: Moment,
}

/// What had been used at a moment.
#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    records: u64,
    cpu: Duration,
    requests: Requests,
}

impl Moment {
    fn of(wal: &Wal, storage: &ObjectStorage) -> Moment {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Moment {
            at: Instant::now(),
            records: wal.durable().get(),
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            requests: storage.requests(),
        }
    }
}

/// What was seen of a load.
pub(crate) struct Seen {
    pub(crate) rate: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Bytes uploaded for each byte appended, from the first append to the last.
    pub(crate) uploaded: f64,
    /// CPU time for each append.
    pub(crate) cpu_micros: f64,
    used: Requests,
}

impl Load {
    pub(crate) fn begin(profile: Profile, kind: Kind, bytes: usize, hedge: Hedge) -> Load {
        let (wal, storage) = open(SimStore::new(1).with_profile(profile), hedge);
        let opened = storage.requests();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let phase = Arc::new(AtomicU8::new(WARMS_UP));
        let payload = Bytes::from(vec![7u8; bytes]);
        let writers = match kind {
            Kind::Closed { writers } => (0..writers)
                .map(|_| runtime.spawn(append(wal.clone(), payload.clone(), phase.clone())))
                .collect(),
            Kind::Open { every } => {
                let (wal, phase) = (wal.clone(), phase.clone());
                vec![runtime.spawn_blocking(move || offer(&wal, &payload, every, &phase))]
            }
        };
        std::thread::sleep(WARM_UP);
        phase.store(COUNTS, Ordering::Relaxed);
        let before = Moment::of(&wal, &storage);
        Load {
            wal,
            storage,
            runtime,
            phase,
            writers,
            opened,
            before,
            after: before,
        }
    }

    /// The time until so many more appends are durable. They become so many at once; so it is the
    /// part of the time that is due to the number asked for.
    pub(crate) fn until(&mut self, appends: u64) -> Duration {
        let (begun, before) = (Instant::now(), self.wal.durable().get());
        loop {
            std::thread::sleep(Duration::from_millis(5));
            let done = self.wal.durable().get() - before;
            if done >= appends {
                let took = begun.elapsed();
                self.after = Moment::of(&self.wal, &self.storage);
                return took.mul_f64(appends as f64 / done as f64);
            }
        }
    }

    pub(crate) fn end(self) -> Seen {
        let (before, after) = (self.before, self.after);
        let count = (after.records - before.records) as f64;
        let used = after.requests.since(&before.requests);
        self.phase.store(ENDS, Ordering::Relaxed);
        let mut took = Vec::new();
        for writer in self.writers {
            let writer = self.runtime.block_on(writer).expect("a writer panicked");
            took.extend(writer.expect("an append failed"));
        }
        let appended = self.wal.stats().payload_bytes; // all of them stored by now
        let uploaded = self.storage.requests().bytes_up - self.opened.bytes_up;
        took.sort_unstable();
        let at = |part: f64| {
            let index = (took.len() as f64 * part) as usize;
            took.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        Seen {
            rate: count / (after.at - before.at).as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
            uploaded: uploaded as f64 / appended as f64,
            cpu_micros: (after.cpu - before.cpu).as_secs_f64() * 1e6 / count,
            used,
        }
    }
}

impl Seen {
    pub(crate) fn requests_in_words(&self) -> String {
        in_words(&self.used)
    }
}

pub(crate) fn in_words(used: &Requests) -> String {
    format!(
        "{} PUT, {} GET, {} LIST, {} twice, ${:.4}",
        used.puts,
        used.gets,
        used.lists,
        used.hedges,
        used.dollars(&Prices::S3_STANDARD)
    )
}

pub(crate) fn open(store: SimStore, hedge: Hedge) -> (Wal, ObjectStorage) {
    let options = Options {
        hedge,
        take_over: true,
        ..Options::default()
    };
    let storage = ObjectStorage::new(Arc::new(store), "log", options).expect("a storage");
    let (wal, _) = Wal::open(storage.clone(), wal_core::Options::default()).expect("a log");
    (wal, storage)
}

async fn append(wal: Wal, payload: Bytes, phase: Arc<AtomicU8>) -> Latencies {
    let mut took = Vec::new();
    loop {
        let begun = Instant::now();
        wal.append(payload.clone())?.await?;
        match phase.load(Ordering::Relaxed) {
            WARMS_UP => {}
            COUNTS => took.push(begun.elapsed()),
            _ => return Ok(took),
        }
    }
}

fn offer(wal: &Wal, payload: &Bytes, every: Duration, phase: &AtomicU8) -> Latencies {
    let (sender, commits) =
        std::sync::mpsc::sync_channel::<(Instant, bool, wal_core::Commit)>(1 << 16);
    let waiter = std::thread::spawn(move || {
        let mut took = Vec::new();
        while let Ok((due, counts, commit)) = commits.recv() {
            commit.wait()?;
            if counts {
                took.push(due.elapsed());
            }
        }
        Ok(took)
    });
    let mut due = Instant::now();
    loop {
        let phase = phase.load(Ordering::Relaxed);
        if phase == ENDS {
            break;
        }
        if let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early);
        }
        let commit = wal.append(payload.clone())?;
        if sender.send((due, phase == COUNTS, commit)).is_err() {
            break; // the waiter says why
        }
        due += every;
    }
    drop(sender);
    waiter.join().expect("the waiter panicked")
}
