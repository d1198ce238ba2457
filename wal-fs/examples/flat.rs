//! Whether an append costs the same whatever the log has become: after many records, with many
//! segments, with many holds.
//!
//! ```sh
//! cargo run --release -p wal-fs --example flat -- 100000000   # records; default 1000000
//! ```
//!
//! Writes 24 bytes for each record, in a temporary directory of the current one. Prints the
//! cost of an append in tenths of each run, and the last compared with the first.

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

    let wal = open("records", Options::default().segment_bytes)?;
    report(
        &format!("{records} records of 16 bytes"),
        &tenths(&wal, records)?,
    );

    // Each segment of 64 KiB holds about 1,600 such records: so many for 10,000 segments.
    let small = open("segments", 64 << 10)?;
    let few = tenths(&small, records / 10)?;
    while small.stats().stored_bytes < 10_000 * (48 << 10) {
        append(&small, 10_000)?;
    }
    let many = tenths(&small, records / 10)?;
    compare("few segments of 64 KiB, then 10,000", &few, &many);

    let without = tenths(&wal, records / 10)?;
    let end = wal.sync()?;
    let holds: Result<Vec<Hold>, _> = (0..1000)
        .map(|index| wal.hold(Lsn::new(end.get() * index / 1000)))
        .collect();
    let holds = holds?;
    let with = tenths(&wal, records / 10)?;
    compare(&format!("no hold, then {}", holds.len()), &without, &with);
    Ok(())
}

/// Nanoseconds for one append, in each tenth of a run.
fn tenths(wal: &Wal, records: u64) -> Outcome<Vec<f64>> {
    let each = (records / 10).max(1);
    let mut costs = Vec::with_capacity(10);
    for _ in 0..10 {
        let begun = Instant::now();
        append(wal, each)?;
        wal.sync()?;
        costs.push(begun.elapsed().as_nanos() as f64 / each as f64);
    }
    Ok(costs)
}

fn append(wal: &Wal, records: u64) -> Outcome<()> {
    for index in 0..records {
        let record = u128::from(index).to_le_bytes();
        drop(wal.append_with(&record, Durability::Accepted)?);
    }
    Ok(())
}

fn report(what: &str, costs: &[f64]) {
    let listed: Vec<_> = costs.iter().map(|cost| format!("{cost:.0}")).collect();
    let ratio = costs
        .last()
        .zip(costs.first())
        .map(|(last, first)| last / first);
    println!(
        "{what}: {} ns an append in each tenth; the last is {:.2} of the first",
        listed.join(", "),
        ratio.unwrap_or(f64::NAN)
    );
}

fn compare(what: &str, before: &[f64], after: &[f64]) {
    let (before, after) = (median(before), median(after));
    println!(
        "{what}: {before:.0} ns, {after:.0} ns an append: {:.2}",
        after / before
    );
}

fn median(costs: &[f64]) -> f64 {
    let mut sorted = costs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
