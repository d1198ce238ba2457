//! G2, where appends overtake each other: a crash while many are under way, across segments too,
//! leaves a prefix of what was appended, whichever of them it took; also the next time.

use wal_core::conformance::Watchdog;
use wal_core::sim::SimStorage;
use wal_core::{Durability, Limits, Lsn, Options, Wal};

fn limits() -> Limits {
    Limits {
        align: 1,
        in_flight: 4,
        append_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// Two or three frames a segment.
fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        frame_bytes: 8 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 1 << 20,
        watermark_delay: None,
        ..Options::default()
    }
}

fn next(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    *random >> 33
}

/// What was appended under each LSN. Those that a crash took are given out again.
fn read(wal: &Wal, appended: &mut Vec<Vec<u8>>, durable: u64) {
    let read: Vec<_> = wal.reader(Lsn::ZERO).unwrap().collect();
    let read: Vec<_> = read.into_iter().map(|record| record.unwrap()).collect();
    assert!(
        read.len() as u64 >= durable,
        "acknowledged records are lost"
    );
    assert!(read.len() <= appended.len(), "records that nobody appended");
    for (number, record) in read.iter().enumerate() {
        assert_eq!(record.lsn.get(), number as u64);
        assert!(
            record.payload == appended[number],
            "LSN {number} has another's content"
        );
    }
    appended.truncate(read.len());
}

#[test]
fn a_crash_within_a_burst_leaves_a_prefix() {
    let asked = std::env::var("WAL_SIM_SEEDS").ok();
    // Each takes some milliseconds, so they are tried by the dozen.
    let dozens: u64 = asked.and_then(|seeds| seeds.parse().ok()).unwrap_or(5);
    for seed in 0..12 * dozens {
        let _watchdog = Watchdog::over("a burst");
        let disk = SimStorage::with_limits(seed, limits());
        let (mut random, mut appended) = (seed + 1, Vec::new());
        for round in 0..8_u8 {
            let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
            read(&wal, &mut appended, 0);
            let mut durable = 0;
            for _ in 0..next(&mut random) % 40 {
                let bytes = usize::try_from(next(&mut random) % 20_000).unwrap();
                let payload = vec![round ^ (bytes as u8); bytes + 1];
                appended.push(payload.clone());
                let commit = wal.append_with(payload, Durability::Accepted).unwrap();
                if next(&mut random).is_multiple_of(16) {
                    durable = wal.sync().unwrap().get();
                }
                drop(commit);
            }
            if next(&mut random).is_multiple_of(2) {
                std::thread::yield_now();
            }
            disk.crash();
            drop(wal);
            let (wal, _) = Wal::open(disk.clone(), options()).unwrap();
            read(&wal, &mut appended, durable);
            disk.kill();
        }
    }
}
