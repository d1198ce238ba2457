//! A checkpoint's log with any records in it.

use wal_core::sim::SimStorage;
use wal_core::{Lsn, Wal};
use wal_streaming::{Batch, Checkpoint, OffsetRange, Partition};

/// The input is a row of records: two bytes of length, and so many bytes.
pub fn run(data: &[u8]) {
    let Some(wal) = log_of(data) else { return };
    let Ok(mut checkpoint) = Checkpoint::open(wal, "fuzz", &[], true) else {
        return;
    };
    if checkpoint.pending().is_some() {
        let _ = checkpoint.done(None);
    }
    let range = OffsetRange {
        partition: Partition::new("topic", 0),
        from: 1,
        until: 2,
    };
    let next = Batch {
        id: checkpoint.batches_done(),
        ranges: vec![range],
    };
    let _ = checkpoint.plan(next);
    let _ = checkpoint.done(None);
}

/// A log that holds these records, and nothing else.
pub(super) fn log_of(data: &[u8]) -> Option<Wal> {
    let (wal, _) = Wal::open(SimStorage::new(1), wal_core::Options::default()).ok()?;
    let mut append = wal_core::Append::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        let (record, after) = after.split_at(after.len().min(length));
        append.push(record);
        rest = after;
    }
    if !append.is_empty() {
        wal.commit(append).ok()?;
    }
    debug_assert!(wal.oldest() == Lsn::ZERO);
    Some(wal)
}
