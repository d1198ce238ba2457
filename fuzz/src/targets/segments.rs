//! Opening, on the simulated storage, whatever its segments hold: any bytes, or lies with right
//! checksums.

use wal_core::sim::SimStorage;
use wal_core::{Limits, Lsn, Position, SegmentId, Storage, Sync};

use crate::repair::{VERSION, repair, version};

/// The input is a row of segments: two bytes of length (the top bit: its checksums are made
/// right), and so many bytes.
pub fn run(data: &[u8]) {
    let (disk, newer) = stored(data);
    super::stored::look(&|| disk.clone());
    let before = disk.segments();
    let opened = super::stored::write(disk.clone());
    if newer {
        let refused = matches!(opened, Err(wal_core::Error::NewerFormat { .. }));
        assert!(refused, "G11: a newer format is not refused: {opened:?}");
        assert_eq!(
            disk.segments(),
            before,
            "G11: and the log is not left as it was"
        );
    }
}

/// What lies there, and whether the newest segment is of a newer format.
pub(super) fn stored(data: &[u8]) -> (SimStorage, bool) {
    let limits = Limits {
        align: 1,
        in_flight: 1,
        append_bytes: 1 << 20,
        ..Limits::default()
    };
    let disk = SimStorage::with_limits(1, limits);
    let writer = disk.clone();
    let _ = now(writer.acquire());
    let (mut rest, mut newer) = (data, false);
    for number in 1..64 {
        let Some((head, after)) = rest.split_first_chunk::<2>() else {
            break;
        };
        let head = u16::from_le_bytes(*head);
        let (segment, after) = after.split_at(after.len().min(usize::from(head & 0x7fff)));
        rest = after;
        let mut segment = segment.to_vec();
        if head & 0x8000 != 0 {
            repair(&mut segment);
        }
        newer = version(&segment).is_some_and(|version| version > VERSION);
        let first = segment.get(64..72).and_then(|it| it.try_into().ok());
        let at = Position {
            segment: SegmentId::new(number),
            offset: 0,
            lsn: Lsn::new(first.map_or(0, u64::from_le_bytes)),
        };
        let _ = now(writer.append(at, vec![segment.into()], Sync::Yes));
    }
    disk.kill();
    (disk, newer)
}

/// The storage does its work in the call.
fn now<T>(mut future: wal_core::IoFuture<T>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result.ok(),
        std::task::Poll::Pending => None,
    }
}
