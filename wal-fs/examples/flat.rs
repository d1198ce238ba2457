//! Whether an append costs the same whatever the log has become: after many records, with many
//! segments, with many holds.
//!
//! ```sh
//! cargo run --release -p wal-fs --example flat -- 100000000   # records; default 1000000
//! ```
//!
//! Writes 24 bytes for each record, in a temporary directory of the current one. Each log is measured in
//! turn with a new one, a tenth each at a time: the speed of a machine may change meanwhile.

use std::error::Error;
use std::time::Instant;

use wal_core::{Durability, Hold, Lsn, Options, Wal};
use wal_fs::FileStorage;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let records = match std::env::args().nth(1) {
        Some(asked) => asked.parse()?,
        None => 1_000_000,
    };
    let place = tempfile::tempdir_in(".")?;
    let open = |name: &str, segment_bytes: u64| -> Outcome<Wal> {
        let options = Options {
            segment_bytes,
            append_bytes: 4 << 10,
            ..Options::default()
        };
        let storage = FileStorage::open(place.path().join(name))?;
        Ok(Wal::open(storage, options)?.0)
    };

    let whole = Options::default().segment_bytes;
    let each = (records / 100).max(20_000);

    let long = open("long", whole)?;
    let costs: Result<Vec<f64>, _> = (0..10).map(|_| cost(&long, records / 10)).collect();
    let costs: Vec<_> = costs?.iter().map(|cost| format!("{cost:.0}")).collect();
    let listed = costs.join(", ");
    println!("{records} records of 16 bytes, in tenths: {listed} ns an append");
    compare("a new log, and this one", &open("new", whole)?, &long, each)?;

    // Each segment of 64 KiB holds about 1,600 such records.
    let many = open("many", 64 << 10)?;
    while many.stats().stored_bytes < 10_000 * (48 << 10) {
        append(&many, 10_000)?;
    }
    let few = open("few", 64 << 10)?;
    compare("few segments of 64 KiB, and 10,000", &few, &many, each)?;

    let held = open("held", whole)?;
    append(&held, 100_000)?;
    let end = held.sync()?;
    let holds: Result<Vec<Hold>, _> = (0..1000)
        .map(|index| held.hold(Lsn::new(end.get() * index / 1000)))
        .collect();
    let holds = holds?;
    let what = format!("no hold, and {}", holds.len());
    compare(&what, &open("free", whole)?, &held, each)?;
    Ok(())
}

/// Both logs in turn, ten times.
fn compare(what: &str, one: &Wal, other: &Wal, records: u64) -> Outcome<()> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        first.push(cost(one, records)?);
        second.push(cost(other, records)?);
    }
    let ratios: Vec<_> = second.iter().zip(&first).map(|(b, a)| b / a).collect();
    let (before, after, ratio) = (median(&first), median(&second), median(&ratios));
    println!("{what}: {before:.0} ns, {after:.0} ns an append: {ratio:.2}");
    Ok(())
}

/// Nanoseconds for one append, the sync at the end included.
fn cost(wal: &Wal, records: u64) -> Outcome<f64> {
    let begun = Instant::now();
    append(wal, records)?;
    wal.sync()?;
    Ok(begun.elapsed().as_nanos() as f64 / records as f64)
}

fn append(wal: &Wal, records: u64) -> Outcome<()> {
    for index in 0..records {
        let record = u128::from(index).to_le_bytes();
        drop(wal.append_with(&record, Durability::Accepted)?);
    }
    Ok(())
}

fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
