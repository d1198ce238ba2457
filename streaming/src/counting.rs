//! A sink that only counts, for measurement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Batch, Delivery, RecordRef, Result, Sink};

/// Counts records and forgets them.
///
/// ```
/// use wal_streaming::{Batch, CountingSink, Partition, RecordRef, Sink};
/// let mut sink = CountingSink::new();
/// let counted = sink.counted();
/// let (batch, partition) = (Batch { id: 0, ranges: vec![] }, Partition::new("orders", 0));
/// sink.begin(&batch)?;
/// sink.write(RecordRef { partition: &partition, offset: 0, key: None, value: b"order" })?;
/// sink.commit(&batch)?;
/// assert_eq!((counted.records(), counted.bytes(), counted.batches()), (1, 5, 1));
/// # Ok::<(), wal_streaming::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct CountingSink {
    counted: Counted,
    records: u64,
    bytes: u64,
}

impl CountingSink {
    /// A sink that has counted nothing.
    #[must_use]
    pub fn new() -> Self {
        CountingSink::default()
    }

    /// The counters, to be read while the sink is at work.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.counted.clone()
    }
}

/// What a [`CountingSink`] has counted in committed batches. Clones are the same counters.
///
/// ```
/// assert_eq!(wal_streaming::CountingSink::new().counted().batches(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counted(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
}

impl Counted {
    /// Records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Bytes of their keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Batches.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.0.batches.load(Ordering::Relaxed)
    }
}

impl Sink for CountingSink {
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    fn begin(&mut self, _batch: &Batch) -> Result<()> {
        (self.records, self.bytes) = (0, 0);
        Ok(())
    }

    fn write(&mut self, record: RecordRef<'_>) -> Result<()> {
        self.records += 1;
        self.bytes += (record.key.map_or(0, <[u8]>::len) + record.value.len()) as u64;
        Ok(())
    }

    fn commit(&mut self, _batch: &Batch) -> Result<()> {
        let counters = &self.counted.0;
        counters.records.fetch_add(self.records, Ordering::Relaxed);
        counters.bytes.fetch_add(self.bytes, Ordering::Relaxed);
        counters.batches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
