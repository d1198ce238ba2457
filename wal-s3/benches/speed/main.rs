//! How fast a log on an object store is, on a simulated one with stated latencies:
//!
//! ```sh
//! cargo bench -p wal-s3 --bench speed            # every row
//! cargo bench -p wal-s3 --bench speed -- replay  # those with that word
//! ```
//!
//! `s3` answers after 20 ms (median; 60 ms at p99, lognormal) and moves 100 MB/s a request,
//! `express` answers after 4 ms (10 ms) and moves 200 MB/s. Criterion measures time; latencies,
//! requests, bytes and CPU time of the same run stand in the table that is printed last, beside
//! what they should be. CPU time is that of the whole process, the simulated store included.

mod load;
mod recovery;
mod table;

use std::time::Duration;

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use wal_s3::Hedge;
use wal_s3::sim::Profile;

use load::{Kind, Load, Seen};
use recovery::{Left, Recovery, TWENTY_MILLIS};
use table::{Row, Table, at_least, at_most};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut table = Table::default();
    let mut group = criterion.benchmark_group("object store");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_secs(1));
    appends(&mut group, &mut table);
    recoveries(&mut group, &mut table);
    group.finish();
    criterion.final_summary();
    println!("{table}");
}

fn appends(group: &mut BenchmarkGroup<'_, WallTime>, table: &mut Table) {
    const S3: Profile = Profile::S3;
    const EXPRESS: Profile = Profile::EXPRESS;
    const OFFERED: Duration = Duration::from_micros(125); // of 16 KiB: 131 MB/s
    let closed = |writers| Kind::Closed { writers };
    let open = Kind::Open { every: OFFERED };
    let (off, hedged) = (Hedge::Off, Hedge::Adaptive);
    let mut case = |name: &str, load: (Profile, Kind, usize, Hedge), row: fn(&Seen, Row) -> Row| {
        let (profile, kind, bytes, hedge) = load;
        let mut running = None;
        group.measurement_time(Duration::from_secs(6));
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            let load = running.get_or_insert_with(|| Load::begin(profile, kind, bytes, hedge));
            bencher.iter_custom(|appends| load.until(appends));
        });
        if let Some(seen) = running.map(Load::end) {
            table.push(row(&seen, Row::of(name)).note(seen.requests_in_words()));
        }
    };
    case(
        "s3, 256 writers of 1 KiB",
        (S3, closed(256), 1 << 10, off),
        |seen, row| {
            row.value("{}/s", seen.rate, at_least(9_000.0))
                .value("p99 {} ms", seen.p99, at_most(105.0))
                .value("{} bytes a byte", seen.uploaded, at_most(1.01))
                .value("{} µs CPU", seen.cpu_micros, at_most(4.0))
        },
    );
    case(
        "s3, 256 writers of 1 KiB, hedged",
        (S3, closed(256), 1 << 10, hedged),
        |seen, row| {
            row.value("{}/s", seen.rate, at_least(9_700.0))
                .value("p99 {} ms", seen.p99, at_most(65.0))
                .value("{} bytes a byte", seen.uploaded, at_most(1.15))
        },
    );
    case(
        "s3, 256 writers of 16 KiB",
        (S3, closed(256), 16 << 10, off),
        |seen, row| {
            row.value("{}/s", seen.rate, at_least(5_000.0)).value(
                "p50 {} ms",
                seen.p50,
                at_most(45.0),
            )
        },
    );
    case(
        "express, 256 writers of 16 KiB",
        (EXPRESS, closed(256), 16 << 10, off),
        |seen, row| row.value("{}/s", seen.rate, at_least(20_000.0)),
    );
    case(
        "s3, one writer of 1 KiB",
        (S3, closed(1), 1 << 10, off),
        |seen, row| row.value("p50 {} ms", seen.p50, at_most(21.0)),
    );
    case(
        "s3, open loop, 131 MB/s",
        (S3, open, 16 << 10, off),
        |seen, row| {
            row.value("p50 {} ms", seen.p50, at_most(45.0)).value(
                "p99 {} ms",
                seen.p99,
                at_most(125.0),
            )
        },
    );
    case(
        "s3, open loop, 131 MB/s, hedged",
        (S3, open, 16 << 10, hedged),
        |seen, row| {
            row.value("p50 {} ms", seen.p50, at_most(45.0)).value(
                "p99 {} ms",
                seen.p99,
                at_most(100.0),
            )
        },
    );
}

fn recoveries(group: &mut BenchmarkGroup<'_, WallTime>, table: &mut Table) {
    group.measurement_time(Duration::from_secs(3));
    group.throughput(Throughput::Elements(1));
    let name = "open after a kill, to the first durable append";
    let mut reopened = None;
    group.bench_function(name, |bencher| {
        let log = reopened.get_or_insert_with(|| Recovery::of(100, TWENTY_MILLIS, Left::Killed));
        bencher.iter_custom(|times| log.each(times, Recovery::reopen));
    });
    if let Some(log) = reopened {
        let trips = log.median_millis() / 20.0;
        let row = Row::of(name).value("{} round trips", trips, at_most(6.0));
        table.push(row.note(log.requests_in_words()));
    }
    group.throughput(Throughput::Bytes(256 << 20));
    let name = "s3, replay 256 MiB";
    let mut replayed = None;
    group.bench_function(name, |bencher| {
        let log = replayed.get_or_insert_with(|| Recovery::of(256, Profile::S3, Left::Closed));
        bencher.iter_custom(|times| log.each(times, Recovery::replay));
    });
    if let Some(log) = replayed {
        let row = Row::of(name).value("{} ms", log.median_millis(), at_most(300.0));
        let row = row.value("{} LIST", log.requests.lists as f64, at_most(0.0));
        let gets = log.requests.gets as f64 / log.objects as f64;
        let row = row.value("{} GETs an object", gets, at_most(1.05));
        table.push(row.note(log.requests_in_words()));
    }
}
