//! G1, G2, G3 on real files: a child that appends is killed with SIGKILL again and again;
//! what it was told is durable is there, in order, whole.
//!
//! The test starts itself as the child: `WAL_KILL_DIR` names the log's directory.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wal_core::{Append, Lsn, Options, Wal};
use wal_fs::FileStorage;

/// Records per append; the n-th append holds records whose first eight bytes are n.
const GROUP: u64 = 3;

fn open(path: &Path) -> (Wal, wal_core::Recovery) {
    let options = Options {
        segment_bytes: 256 << 10, // rolls often
        append_bytes: 64 << 10,
        ..Options::default()
    };
    Wal::open(FileStorage::open(path).unwrap(), options).unwrap()
}

fn group(n: u64) -> Append<'static> {
    let mut record = n.to_le_bytes().to_vec();
    record.resize(
        8 + usize::try_from(n * 7919 % 4000).unwrap(),
        n.to_le_bytes()[0],
    );
    (0..GROUP).map(|_| &record).collect()
}

/// Appends from four threads and prints every group that was acknowledged.
fn child(path: &Path) -> ! {
    let (wal, recovery) = open(path);
    assert_eq!(recovery.end.get() % GROUP, 0, "an append was torn");
    let next = std::sync::Mutex::new(recovery.end.get() / GROUP);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let (n, commit) = {
                        let mut next = next.lock().unwrap();
                        let commit = wal.append(group(*next)).unwrap();
                        *next += 1;
                        (*next - 1, commit)
                    };
                    commit.wait().unwrap();
                    if n % 100 == 99 {
                        // Files are recycled under way: the kill may come at any moment of that.
                        wal.release(wal.newest_segment()).unwrap();
                    }
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{n}").and_then(|()| out.flush()).unwrap();
                }
            });
        }
    });
    unreachable!("the loops above never end");
}

fn spawn(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "what_was_acknowledged_survives_sigkill",
            "--nocapture",
        ])
        .env("WAL_KILL_DIR", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_was_acknowledged_survives_sigkill() {
    if let Some(path) = std::env::var_os("WAL_KILL_DIR") {
        child(Path::new(&path));
    }
    let rounds = std::env::var("WAL_KILL_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut oldest = Lsn::ZERO;
    for round in 0..rounds {
        let mut child = spawn(dir.path());
        let out = BufReader::new(child.stdout.take().unwrap());
        let listener = std::thread::spawn(move || {
            let numbers = out
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| line.parse().ok());
            numbers.max().map_or(0, |highest: u64| highest + 1)
        });
        std::thread::sleep(Duration::from_millis(20 + round * 13 % 120));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged = acknowledged.max(listener.join().unwrap());
        oldest = verify(dir.path(), acknowledged);
    }
    assert!(acknowledged > 0, "the child never got to work");
    assert!(oldest > Lsn::ZERO, "the child never released");
}

/// What the log holds is right; the oldest record that is left.
fn verify(path: &Path, acknowledged: u64) -> Lsn {
    let (wal, recovery) = open(path);
    let groups = recovery.end.get() / GROUP;
    assert_eq!(recovery.end.get() % GROUP, 0, "an append was torn");
    assert!(
        groups >= acknowledged,
        "{groups} groups found, {acknowledged} acknowledged"
    );
    let mut next = recovery.oldest;
    for record in wal.reader(next).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.lsn, next);
        let n = next.get() / GROUP;
        assert_eq!(record.payload[..8], n.to_le_bytes());
        next = next.plus(1);
    }
    assert_eq!(next, recovery.end);
    recovery.oldest
}
