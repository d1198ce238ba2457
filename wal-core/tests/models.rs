//! Models of the committer: whoever waits is woken, in whatever order threads run.
//!
//! `scripts/models.sh` builds the crate with `--cfg wal_shuttle`: then every lock, atomic and
//! thread of it belongs to a scheduler that chooses, at each of their operations, who runs next
//! (at random, or with few preemptions: PCT, Burckhardt et al., ASPLOS 2010). A schedule in
//! which all threads wait for ever is reported as a deadlock, with a seed to replay it.
#![cfg(wal_shuttle)]

use std::time::Duration;

use shuttle::thread;
use wal_core::sim::SimStorage;
use wal_core::{Durability, Error, Limits, Lsn, Options, Wal};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        append_bytes: 32 << 10,
        queue_bytes: 32 << 10,
        watermark_delay: None,
        ..Options::default()
    }
}

fn check(model: impl Fn() + Send + Sync + Copy + 'static) {
    let asked = std::env::var("WAL_SCHEDULES").ok();
    let schedules = asked.and_then(|it| it.parse().ok()).unwrap_or(1000);
    shuttle::check_random(model, schedules);
    shuttle::check_pct(model, schedules, 3);
}

fn open(disk: &SimStorage) -> Wal {
    Wal::open(disk.clone(), options()).unwrap().0
}

/// Callers that drive in turn: each returns, and the log holds all of them.
#[test]
fn callers_of_commit_take_turns() {
    check(|| {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let wal = wal.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        let lsns = wal.commit("x").unwrap();
                        assert!(wal.durable() >= lsns.end);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(wal.durable(), Lsn::new(6));
        wal.close().unwrap();
    });
}

/// Those that drive, those that wait, and those that sync.
#[test]
fn appends_commits_and_barriers_meet() {
    check(|| {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        let (one, two, three) = (wal.clone(), wal.clone(), wal.clone());
        let threads = [
            thread::spawn(move || {
                one.append("a").unwrap().wait().unwrap();
            }),
            thread::spawn(move || drop(two.commit("b").unwrap())),
            thread::spawn(move || {
                let lazy = three.append_with("c", Durability::Accepted).unwrap();
                let durable = three.sync().unwrap();
                assert!(durable >= lazy.lsns().end);
            }),
        ];
        threads.into_iter().for_each(|it| it.join().unwrap());
        wal.close().unwrap();
        disk.crash();
        assert_eq!(Wal::open(disk, options()).unwrap().1.end, Lsn::new(3));
    });
}

/// G5: a failed write wakes everyone, and nothing is acknowledged by it.
#[test]
fn a_failure_reaches_everyone() {
    for operations in 0..3 {
        check_failure(operations);
    }
}

fn check_failure(operations: u64) {
    let model = move || {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        wal.commit("first").unwrap();
        disk.fail_after(operations);
        let threads: Vec<_> = (0..3)
            .map(|index| {
                let wal = wal.clone();
                thread::spawn(move || match index {
                    0 => wal.append("x").and_then(|commit| commit.wait()).ok(),
                    _ => wal.commit("y").ok(),
                })
            })
            .collect();
        let mut acknowledged = Lsn::new(1);
        for done in threads {
            if let Some(lsns) = done.join().unwrap() {
                acknowledged = acknowledged.max(lsns.end);
            }
        }
        disk.crash();
        drop(wal);
        assert!(Wal::open(disk, options()).unwrap().1.end >= acknowledged);
    };
    shuttle::check_random(model, 500);
    shuttle::check_pct(model, 500, 3);
}

/// G8: appends that wait for room get it, or learn that the log is closing.
#[test]
fn appends_wait_for_room() {
    check(|| {
        let wal = open(&SimStorage::new(1));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let wal = wal.clone();
                thread::spawn(move || wal.append(vec![1; 20_000]).unwrap().wait().unwrap())
            })
            .collect();
        threads.into_iter().for_each(|it| drop(it.join().unwrap()));
        wal.close().unwrap();
    });
}

/// Accepted appends fill frames beside those who wait: nobody is left waiting.
#[test]
fn accepted_appends_that_fill_frames_meet_commits() {
    check(|| {
        let full = Options {
            frame_bytes: 4 << 10,
            ..options()
        };
        let wal = Wal::open(SimStorage::new(1), full).unwrap().0;
        let mut threads: Vec<_> = (0..2)
            .map(|_| {
                let wal = wal.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        let append = wal.append_with(vec![1; 3000], Durability::Accepted);
                        drop(append.unwrap());
                    }
                    let last = wal.append_with("x", Durability::Accepted).unwrap();
                    last.wait().unwrap();
                })
            })
            .collect();
        for way in 0..2 {
            let wal = wal.clone();
            threads.push(thread::spawn(move || match way {
                0 => drop(wal.commit("y").unwrap()),
                _ => drop(wal.append("z").unwrap().wait().unwrap()),
            }));
        }
        threads.into_iter().for_each(|it| it.join().unwrap());
        assert_eq!(wal.sync().unwrap(), Lsn::new(8));
        wal.close().unwrap();
    });
}

/// Taking back what is queued, cutting off what is stored, and naming a hold, beside commits.
#[test]
fn rewinds_truncations_and_holds_leave_nobody_waiting() {
    check(|| {
        let wal = open(&SimStorage::new(1));
        wal.commit(["a", "b"]).unwrap();
        let (one, two, three) = (wal.clone(), wal.clone(), wal.clone());
        let four = wal.clone();
        let threads = [
            thread::spawn(move || match one.append("x").and_then(|it| it.wait()) {
                Ok(_) | Err(Error::Truncated { .. } | Error::Rewound { .. }) => {}
                Err(error) => panic!("{error}"),
            }),
            thread::spawn(move || match two.commit("y") {
                Ok(_) | Err(Error::Truncated { .. } | Error::Rewound { .. }) => {}
                Err(error) => panic!("{error}"),
            }),
            thread::spawn(move || assert!(four.sync().is_ok())),
            thread::spawn(move || {
                three.rewind(Lsn::new(2)).unwrap();
                three.set_hold("h", Lsn::ZERO).unwrap();
                three.truncate(Lsn::new(1)).unwrap();
            }),
        ];
        threads.into_iter().for_each(|it| it.join().unwrap());
        wal.close().unwrap();
    });
}

/// Who drives for an append that was taken back meanwhile writes what got its LSN: of somebody who waits.
#[test]
fn an_lsn_that_is_given_out_again_belongs_to_somebody_else() {
    check(|| {
        let wal = open(&SimStorage::new(1));
        let (one, two, three) = (wal.clone(), wal.clone(), wal.clone());
        let threads = [
            thread::spawn(move || match one.append("x").and_then(|it| it.wait()) {
                Ok(_) | Err(Error::Rewound { .. }) => {}
                Err(error) => panic!("{error}"),
            }),
            thread::spawn(move || match two.commit("y") {
                Ok(_) | Err(Error::Rewound { .. }) => {}
                Err(error) => panic!("{error}"),
            }),
            thread::spawn(move || {
                three.rewind(Lsn::ZERO).unwrap();
            }),
        ];
        threads.into_iter().for_each(|it| it.join().unwrap());
        wal.close().unwrap();
    });
}

/// A release beside an append that begins a segment: what is deleted may be missing at an open.
#[test]
fn releases_meet_appends_that_begin_a_segment() {
    check(|| {
        let disk = SimStorage::new(1);
        let wal = open(&disk);
        for _ in 0..3 {
            wal.commit(vec![1; 30_000]).unwrap();
        }
        let (one, two) = (wal.clone(), wal.clone());
        let writer = thread::spawn(move || drop(one.commit(vec![2; 30_000]).unwrap()));
        let releaser = thread::spawn(move || two.release(two.durable()).unwrap());
        writer.join().unwrap();
        releaser.join().unwrap();
        thread::yield_now();
        disk.crash();
        drop(wal);
        assert_eq!(Wal::open(disk, options()).unwrap().1.end, Lsn::new(4));
    });
}

/// A tail sees every record and ends with the log.
#[test]
fn a_tail_is_woken_for_each_record_and_for_the_end() {
    check(|| {
        let wal = open(&SimStorage::new(1));
        let mut tail = wal.tail(Lsn::ZERO).unwrap();
        let reader = thread::spawn(move || {
            let mut seen = 0;
            while let Some(record) = tail.next_blocking() {
                record.unwrap();
                seen += 1;
            }
            seen
        });
        let other = wal.clone();
        let writer = thread::spawn(move || drop(other.commit("b").unwrap()));
        wal.append("a").unwrap().wait().unwrap();
        writer.join().unwrap();
        wal.close().unwrap();
        assert_eq!(reader.join().unwrap(), 2);
    });
}

/// More than one append in flight, finishing in any order.
#[test]
fn appends_that_overtake_each_other() {
    check(|| {
        let limits = Limits {
            align: 1,
            in_flight: 3,
            append_bytes: 1 << 20,
            ..Limits::default()
        };
        let disk = SimStorage::with_limits(1, limits);
        let wal = open(&disk);
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let wal = wal.clone();
                thread::spawn(move || drop(wal.append("x").unwrap().wait().unwrap()))
            })
            .collect();
        threads.into_iter().for_each(|it| it.join().unwrap());
        wal.close_timeout(Duration::from_secs(600)).unwrap();
    });
}

/// Who watches the log is woken by whatever frame brings it so far, and told of the close.
#[test]
fn watchers_see_every_advance_and_the_close() {
    check(|| {
        let wal = open(&SimStorage::new(1));
        let watched = [wal.reached(Lsn::new(1)), wal.reached(Lsn::new(2))];
        let never = wal.reached(Lsn::new(9));
        let watchers = watched.map(|reached| thread::spawn(move || reached.wait().unwrap()));
        let last = thread::spawn(move || never.wait());
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let wal = wal.clone();
                thread::spawn(move || wal.commit("x").unwrap())
            })
            .collect();
        writers.into_iter().for_each(|it| drop(it.join().unwrap()));
        watchers.into_iter().for_each(|it| drop(it.join().unwrap()));
        wal.close().unwrap();
        assert!(matches!(last.join().unwrap(), Err(Error::Closed)));
    });
}
