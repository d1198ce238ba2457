//! A receiver's log with any records in it: position envelopes above all.

use wal_streaming::{Acknowledge, Block, Source, Store, WalSource, WalStore};

/// The input is that of `checkpoint`.
pub fn run(data: &[u8]) {
    let Some(wal) = super::checkpoint::log_of(data) else {
        return;
    };
    if let Ok(mut store) = WalStore::open(wal.clone(), Acknowledge::Durable) {
        let _ = store.positions().iter().count();
        let _ = store.store(Block::new());
    }
    let mut source = WalSource::new(wal, "fuzz");
    let ranges = source.plan(&Default::default(), 1000, Default::default());
    for range in ranges.into_iter().flatten() {
        let _ = source.fetch(&range, &mut |_| Ok(()));
    }
}
