//! Using whatever lies there in every way; each may fail, none may do harm.

use std::time::{Duration, UNIX_EPOCH};

use wal_core::{Error, Options, Storage, Wal};

/// More than any input here can hold.
const MANY: usize = 100_000;

pub(super) fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes: 1 << 10,
        queue_bytes: 64 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

/// Looks at it, without changing anything.
pub(super) fn look<S: Storage>(open: &dyn Fn() -> S) {
    let _ = Wal::inspect(open());
    let mut next = 0;
    for (index, found) in Wal::salvage(open()).into_iter().flatten().enumerate() {
        assert!(index < MANY, "salvage does not end");
        if let wal_core::Salvaged::Record(record) = found {
            assert!(record.lsn.get() >= next, "salvaged twice: {}", record.lsn);
            next = record.lsn.get().saturating_add(1);
        }
    }
    if let Ok(view) = Wal::open_read_only(open()) {
        let _ = view.verify();
        let reader = view.reader(view.oldest()).into_iter().flatten();
        let read = reader.take(MANY).take_while(Result::is_ok).count();
        assert!(read < MANY, "a view's reader does not end");
    }
}

/// Opens it for writing, and does all that can be done.
pub(super) fn write<S: Storage>(storage: S) -> Result<(), Error> {
    let (wal, recovery) = Wal::open(storage, options())?;
    assert!(recovery.durable <= recovery.end);
    let oldest = wal.oldest();
    let read = wal.reader(oldest)?.take(MANY).take_while(Result::is_ok);
    assert!(read.count() < MANY, "a reader does not end");
    for lsn in (0..8).map(|more| oldest.plus(more)) {
        let _ = wal.get(lsn);
        let _ = wal.locate(lsn).and_then(|place| wal.read_at(&place));
    }
    let _ = wal.seek_time(UNIX_EPOCH + Duration::from_micros(5));
    let _ = wal.check(&wal.receipt());
    let _ = wal.verify();
    let _ = wal.commit("x");
    let _ = wal.truncate(oldest.plus(1));
    let _ = wal.set_hold("h", wal.oldest());
    let _ = wal.release(wal.durable());
    wal.close()
}
