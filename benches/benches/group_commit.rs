//! Many writers at once, each waiting until its record is durable: how well do they
//! share syncs? The floor shares them as well as can be: a leader writes what has
//! gathered, syncs once, and lets all of them go.

mod common;
mod floor;

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::{Outcome, fresh_wal, must, noise};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use floor::Floor;
use wal_core::Options;

const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);

fn group_commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("group commit, 1 KiB each");
    group.throughput(Throughput::Elements(1)).sample_size(10);
    group.warm_up_time(WARM_UP).measurement_time(MEASURE);
    let record = noise(1 << 10);
    for threads in [8u64, 64] {
        let (wal, _dir) = must(fresh_wal(Options::default()));
        group.bench_function(BenchmarkId::new("wal", threads), |bencher| {
            let commit = || {
                must(wal.commit(record.as_slice()));
            };
            bencher.iter_custom(|commits| in_parallel(threads, commits, &commit));
        });
        let leader = must(Leader::new());
        group.bench_function(BenchmarkId::new("leader floor", threads), |bencher| {
            let commit = || must(leader.commit(&record));
            bencher.iter_custom(|commits| in_parallel(threads, commits, &commit));
        });
    }
    group.finish();
}

/// `commits` calls, spread over `threads`; the time that all of them took together.
fn in_parallel(threads: u64, commits: u64, commit: &(dyn Fn() + Sync)) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..threads {
            let share = commits / threads + u64::from(number < commits % threads);
            scope.spawn(move || (0..share).for_each(|_| commit()));
        }
    });
    started.elapsed()
}

/// Group commit without a log: no checksums, no recovery, nothing but shared syncs.
struct Leader {
    state: Mutex<State>,
    done: Condvar,
    floor: Mutex<Floor>,
}

#[derive(Default)]
struct State {
    gathered: Vec<u8>,
    /// The round that gathers, and how many rounds are durable.
    round: u64,
    durable: u64,
    leading: bool,
}

impl Leader {
    fn new() -> Outcome<Leader> {
        let floor = Mutex::new(Floor::new(64 << 20)?);
        Ok(Leader {
            state: Mutex::default(),
            done: Condvar::new(),
            floor,
        })
    }

    fn commit(&self, record: &[u8]) -> Outcome<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.gathered.extend_from_slice(record);
        let mine = state.round;
        while state.durable <= mine {
            if state.leading {
                state = self
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.leading = true;
            state.round += 1;
            let data = std::mem::take(&mut state.gathered);
            drop(state);
            let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
            let written = floor.write(&data).and_then(|()| floor.sync());
            drop(floor);
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.leading = false;
            state.durable = state.round;
            self.done.notify_all();
            written?;
        }
        Ok(())
    }
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
