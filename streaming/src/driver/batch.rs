//! Runs one batch from the source into the sink.

use std::time::Instant;

use super::Missing;
use crate::{Batch, Error, OffsetRange, RecordRef, Result, Sink, Source};

/// Records between two looks at the clock.
const STAMP: u64 = 256;

/// A batch that was run.
///
/// ```
/// let report = wal_streaming::BatchReport::default();
/// assert_eq!((report.id, report.records, report.skipped), (0, 0, 0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct BatchReport {
    /// Its identifier.
    pub id: u64,
    /// Records that went into the sink.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Offsets that were gone from the source and skipped.
    pub skipped: u64,
    /// When records were received from the source: each instant with a number of records.
    pub stamps: Vec<(Instant, u64)>,
}

pub(super) fn run(
    source: &mut dyn Source,
    sink: &mut dyn Sink,
    batch: &Batch,
    missing: Missing,
) -> Result<BatchReport> {
    let mut run = Run {
        sink,
        report: BatchReport {
            id: batch.id,
            ..BatchReport::default()
        },
        received: Instant::now(),
        unstamped: 0,
    };
    run.sink.begin(batch)?;
    for range in &batch.ranges {
        run.range(source, range, missing)?;
    }
    run.stamp();
    run.sink.commit(batch)?;
    Ok(run.report)
}

struct Run<'a> {
    sink: &'a mut dyn Sink,
    report: BatchReport,
    received: Instant,
    unstamped: u64,
}

impl Run<'_> {
    fn range(
        &mut self,
        source: &mut dyn Source,
        range: &OffsetRange,
        missing: Missing,
    ) -> Result<()> {
        let mut rest = range.clone();
        while rest.from < rest.until {
            match source.fetch(&rest, &mut |record| self.record(record)) {
                Ok(()) => break,
                // Everything before the hole has been shown; go on behind it.
                Err(Error::Missing {
                    range: gone,
                    reason,
                }) if missing == Missing::Skip
                    && gone.partition == rest.partition
                    && gone.until > rest.from =>
                {
                    tracing::warn!(range = %gone, reason, "skipping what is gone from the source");
                    let until = gone.until.min(rest.until);
                    self.report.skipped += until - gone.from.clamp(rest.from, until);
                    rest.from = until;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn record(&mut self, record: RecordRef<'_>) -> Result<()> {
        if self.unstamped == 0 {
            self.received = Instant::now();
        }
        self.report.records += 1;
        self.report.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.len()) as u64;
        self.unstamped += 1;
        if self.unstamped == STAMP {
            self.stamp();
        }
        self.sink.write(record)
    }

    fn stamp(&mut self) {
        if self.unstamped > 0 {
            self.report.stamps.push((self.received, self.unstamped));
            self.unstamped = 0;
        }
    }
}
