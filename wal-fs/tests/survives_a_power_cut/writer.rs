//! What runs in the machine: threads that append, hold and release, and tell what was promised them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_core::{Append, Durability, Lsn, Options, Recovery, Wal};
use wal_fs::FileStorage;

/// Records in an append.
pub(crate) const GROUP: u64 = 3;
pub(crate) const HOLD: &str = "follower";

pub(crate) fn open(path: &Path) -> (Wal, Recovery) {
    let options = Options {
        segment_bytes: 256 << 10, // rolls often
        append_bytes: 64 << 10,
        ..Options::default()
    };
    let storage = FileStorage::open(path).expect("the storage opens");
    Wal::open(storage, options).expect("the log opens")
}

/// The life tells what was appended from what once lay there.
pub(crate) fn record(group: u64, life: u64) -> Vec<u8> {
    let mut record = group.to_le_bytes().to_vec();
    record.extend(life.to_le_bytes());
    let length = 16 + group * 7919 % 4000;
    record.resize(
        usize::try_from(length).unwrap(),
        group.to_le_bytes()[0] ^ 0x55,
    );
    record
}

pub(crate) fn run(port: &Path) {
    let life = std::env::var("WAL_LIFE")
        .expect("WAL_LIFE")
        .parse()
        .unwrap();
    let port = Mutex::new(File::options().write(true).open(port).unwrap());
    let tell = |what: &str, number: u64| {
        let line = format!("{what} {number} {life}\n");
        port.lock().unwrap().write_all(line.as_bytes()).unwrap();
    };
    let (wal, recovery) = open(Path::new("/disk/log"));
    let end = recovery.end.get();
    assert_eq!(end % GROUP, 0, "an append was torn");
    tell("open", end / GROUP);
    let next = Mutex::new(end / GROUP);
    let known = AtomicU64::new(end / GROUP);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let (group, commit) = {
                        let mut next = next.lock().unwrap();
                        let group = *next;
                        let append: Append = (0..GROUP).map(|_| record(group, life)).collect();
                        *next += 1;
                        // Three of four only have to be written: the disk may see them in any order.
                        let durability = match group % 4 {
                            0 => Durability::Durable,
                            _ => Durability::Accepted,
                        };
                        (group, wal.append_with(append, durability).unwrap())
                    };
                    commit.wait().unwrap();
                    if group % 4 == 0 {
                        tell("acknowledged", group);
                        known.fetch_max(group, Ordering::Relaxed);
                    }
                }
            });
        }
        scope.spawn(|| {
            loop {
                // A follower a little behind, and everything before it is released.
                let to = (known.load(Ordering::Relaxed) * GROUP).saturating_sub(100);
                let to = Lsn::new(to.max(wal.oldest().get()));
                wal.set_hold(HOLD, to).unwrap();
                tell("held", to.get());
                std::thread::sleep(std::time::Duration::from_millis(20));
                let all = wal.newest_segment();
                tell("releasing", all.get());
                wal.release(all).unwrap();
            }
        });
    });
}
