//! Counts what passes, without changing it: thin wrappers around feed, source and sink.
//!
//! The parent learns of every block and every batch through one line on standard
//! output, so that it can kill at a count it chose.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use wal_streaming::{
    Batch, Block, Delivery, Each, Feed, OffsetRange, Partition, Positions, RecordRef, Result, Sink,
    Source,
};

use super::notes::AcknowledgedNotes;
use super::spec::Said;
use crate::failure::Outcome;
use crate::kafka::Committed;
use crate::measure::latency_histogram;

/// Shared by the wrappers of one arm.
#[derive(Clone)]
pub(super) struct Probe(Arc<Counts>);

struct Counts {
    started: Instant,
    received: AtomicU64,
    sunk: AtomicU64,
    pace: Option<u64>,
    times: Mutex<Times>,
    latency: Mutex<Histogram<u64>>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    first_received: Option<Instant>,
    last_sunk: Option<Instant>,
}

/// Direct mode receives single records; the parent is told every so many.
const TELL_EVERY: u64 = 1_000;

impl Probe {
    pub(super) fn new(pace: Option<u64>) -> Outcome<Self> {
        Ok(Probe(Arc::new(Counts {
            started: Instant::now(),
            received: AtomicU64::new(0),
            sunk: AtomicU64::new(0),
            pace,
            times: Mutex::default(),
            latency: Mutex::new(latency_histogram()?),
        })))
    }

    fn received(&self, records: u64) {
        if records == 0 {
            return;
        }
        self.0
            .times
            .lock()
            .first_received
            .get_or_insert_with(Instant::now);
        let received = self.0.received.fetch_add(records, Ordering::Relaxed) + records;
        self.tell();
        self.hold_back(received);
    }

    /// Sleeps while more was received than the pace allows.
    fn hold_back(&self, received: u64) {
        let (Some(pace), Some(first)) = (self.0.pace, self.0.times.lock().first_received) else {
            return;
        };
        let due = Duration::from_millis(received.saturating_mul(1_000) / pace.max(1));
        std::thread::sleep(due.saturating_sub(first.elapsed()));
    }

    fn sunk(&self, records: u64) {
        self.0.sunk.fetch_add(records, Ordering::Relaxed);
        self.0.times.lock().last_sunk = Some(Instant::now());
        self.tell();
    }

    fn tell(&self) {
        let received = self.0.received.load(Ordering::Relaxed);
        say(&Said::At {
            received,
            sunk: self.0.sunk.load(Ordering::Relaxed),
        });
    }

    /// The records of `stamps` are acknowledged now.
    pub(super) fn acknowledged(&self, stamps: &[(Instant, u64)]) {
        let now = Instant::now();
        let mut latency = self.0.latency.lock();
        for &(received, records) in stamps {
            let micros = now.saturating_duration_since(received).as_micros();
            latency.saturating_record_n(u64::try_from(micros).unwrap_or(u64::MAX), records);
        }
    }

    pub(super) fn counts(&self) -> (u64, u64) {
        (
            self.0.received.load(Ordering::Relaxed),
            self.0.sunk.load(Ordering::Relaxed),
        )
    }

    pub(super) fn window_seconds(&self) -> f64 {
        let Times {
            first_received,
            last_sunk,
        } = *self.0.times.lock();
        match (first_received, last_sunk) {
            (Some(first), Some(last)) => last.saturating_duration_since(first).as_secs_f64(),
            _ => 0.0,
        }
    }

    pub(super) fn join_seconds(&self) -> f64 {
        let first = self.0.times.lock().first_received;
        first.map_or(0.0, |first| {
            first
                .saturating_duration_since(self.0.started)
                .as_secs_f64()
        })
    }

    /// Microseconds and number of records, without the empty values.
    pub(super) fn latency(&self) -> Vec<(u64, u64)> {
        let latency = self.0.latency.lock();
        latency
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
            .collect()
    }
}

/// Tells the parent. If it is gone, the lifeline ends this process; nothing to do here.
pub(super) fn say(said: &Said) {
    if let Ok(mut line) = serde_json::to_string(said) {
        line.push('\n');
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// A feed that is counted.
pub(super) struct ProbedFeed<F> {
    pub(super) feed: F,
    pub(super) probe: Probe,
    pub(super) topic: String,
    /// Places behind which this feed is made not to go back.
    pub(super) forgotten: Vec<Committed>,
    /// Where to note what was acknowledged.
    pub(super) acknowledged: Option<AcknowledgedNotes>,
}

impl<F: Feed> Feed for ProbedFeed<F> {
    fn identity(&self) -> String {
        self.feed.identity()
    }

    fn resume(&mut self, positions: &Positions) -> Result<()> {
        let mut positions = positions.clone();
        for place in &self.forgotten {
            positions.advance(
                &Partition::new(self.topic.as_str(), place.partition),
                place.offset,
            );
        }
        self.feed.resume(&positions)
    }

    fn receive(&mut self, block: &mut Block, wait: Duration) -> Result<()> {
        let before = block.records();
        self.feed.receive(block, wait)?;
        self.probe.received(block.records().saturating_sub(before));
        Ok(())
    }

    fn acknowledge(&mut self, positions: &Positions) -> Result<()> {
        if let Some(notes) = &mut self.acknowledged {
            notes.add(positions)?;
        }
        self.feed.acknowledge(positions)
    }

    fn flush(&mut self) -> Result<()> {
        self.feed.flush()
    }

    fn leaving(&self) -> bool {
        self.feed.leaving()
    }

    fn exhausted(&self) -> bool {
        self.feed.exhausted()
    }
}

/// A source that is counted: direct mode.
pub(super) struct ProbedSource<S> {
    pub(super) source: S,
    pub(super) probe: Probe,
}

impl<S: Source> Source for ProbedSource<S> {
    fn identity(&self) -> String {
        self.source.identity()
    }

    fn plan(&mut self, after: &Positions, limit: u64, wait: Duration) -> Result<Vec<OffsetRange>> {
        self.source.plan(after, limit, wait)
    }

    fn fetch(&mut self, range: &OffsetRange, each: Each<'_>) -> Result<()> {
        let mut untold = 0;
        let probe = &self.probe;
        let fetched = self.source.fetch(range, &mut |record| {
            untold += 1;
            if untold == TELL_EVERY {
                probe.received(std::mem::take(&mut untold));
            }
            each(record)
        });
        probe.received(untold);
        fetched
    }

    fn done(&mut self, positions: &Positions) -> Result<()> {
        self.source.done(positions)
    }

    fn exhausted(&self, after: &Positions) -> bool {
        self.source.exhausted(after)
    }
}

/// A sink that is counted, batch by batch.
pub(super) struct ProbedSink {
    pub(super) sink: Box<dyn Sink>,
    pub(super) probe: Probe,
    /// How much longer each batch takes.
    pub(super) delay: Duration,
    /// Records of the batch under way.
    pub(super) open: u64,
}

impl Sink for ProbedSink {
    fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }

    fn begin(&mut self, batch: &Batch) -> Result<()> {
        self.open = 0;
        self.sink.begin(batch)
    }

    fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
        self.open += 1;
        self.sink.write(record)
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        std::thread::sleep(self.delay);
        self.sink.commit(batch)?;
        self.probe.sunk(std::mem::take(&mut self.open));
        Ok(())
    }
}
