//! G1, G2, G3, G5 on real files under `scripts/real-faults.sh`: a child whose n-th sync fails with
//! EIO, and a child that is killed and loses, in addition, every write and every name that no
//! finished sync covered; and one for which writing back fails before a sync is asked for. What it was told is durable is there, in order, whole.
//!
//! `WAL_FAULTS` names the layer that is loaded under the child, which is this test again.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wal_core::{Append, Commit, Durability, Error, Options, Wal};
use wal_fs::FileStorage;

const GROUP: u64 = 3;

fn open(path: &Path) -> Wal {
    let options = Options {
        segment_bytes: 256 << 10, // rolls often
        append_bytes: 64 << 10,
        ..Options::default()
    };
    let storage = FileStorage::open(path).expect("storage");
    Wal::open(storage, options).expect("the log opens").0
}

fn group(n: u64) -> Append<'static> {
    let mut record = n.to_le_bytes().to_vec();
    record.resize(
        8 + usize::try_from(n * 7919 % 4000).unwrap(),
        n.to_le_bytes()[0],
    );
    (0..GROUP).map(|_| &record).collect()
}

/// Appends and prints what was acknowledged, until it is killed or a sync fails.
fn child(path: &Path) {
    let wal = open(path);
    for n in wal.end().get() / GROUP.. {
        // Some are only accepted: together enough that their writing back begins before the next sync.
        let durability = match n % 16 {
            0..8 => Durability::Accepted,
            _ => Durability::Durable,
        };
        let stored = wal.append_with(group(n), durability);
        match stored.and_then(Commit::wait) {
            Ok(_) if durability == Durability::Accepted => continue,
            Ok(_) => {}
            Err(Error::Poisoned { .. }) => {
                assert!(
                    wal.commit("more").is_err(),
                    "G5: a poisoned handle took more"
                );
                return;
            }
            Err(error) => panic!("{error}"),
        }
        if n % 100 == 99 {
            wal.release(wal.newest_segment()).unwrap();
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {n}")
            .and_then(|()| out.flush())
            .unwrap();
    }
}

/// Runs the child with these faults, until it ends or for so long; groups that it acknowledged.
fn run(path: &Path, faults: &[(&str, String)], limit: Option<Duration>) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "an_error_or_a_power_cut",
            "--nocapture",
            "--ignored",
        ])
        .env("WAL_FAULTS_DIR", path)
        .env("FAULT_DIR", path)
        .env(
            "LD_PRELOAD",
            std::env::var("WAL_FAULTS").expect("WAL_FAULTS"),
        )
        .envs(faults.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let listener = std::thread::spawn(move || {
        let lines = out.lines().map_while(Result::ok);
        let numbers = lines.filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        numbers.max().map_or(0, |highest: u64| highest + 1)
    });
    if let Some(limit) = limit {
        std::thread::sleep(limit);
        child.kill().unwrap();
        child.wait().unwrap();
    } else {
        assert!(
            child.wait().unwrap().success(),
            "the child failed otherwise"
        );
    }
    listener.join().unwrap()
}

/// The directory becomes what the medium has: everything that was not synced is gone.
fn cut_the_power(path: &Path, medium: &Path) {
    fs::remove_dir_all(path).unwrap();
    fs::create_dir(path).unwrap();
    let names = fs::read_to_string(medium.join("names")).unwrap_or_default();
    for (inode, name) in names.lines().filter_map(|line| line.split_once(' ')) {
        let contents = fs::read(medium.join(inode)).unwrap_or_default();
        fs::write(path.join(name), contents).unwrap();
    }
}

/// Everything that was acknowledged is there, and is what was appended.
fn verify(path: &Path, acknowledged: u64) {
    let wal = open(path);
    let end = wal.end();
    assert_eq!(end.get() % GROUP, 0, "G3: an append was torn");
    assert!(
        end.get() / GROUP >= acknowledged,
        "G1: {end} found, {acknowledged} groups promised"
    );
    let mut next = wal.oldest();
    for record in wal.reader(next).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.lsn, next);
        assert_eq!(
            record.payload[..8],
            (next.get() / GROUP).to_le_bytes(),
            "G2"
        );
        next = next.plus(1);
    }
    assert_eq!(next, end);
}

#[test]
#[ignore = "needs the layer that scripts/real-faults.sh builds"]
fn an_error_or_a_power_cut() {
    if let Some(path) = std::env::var_os("WAL_FAULTS_DIR") {
        return child(Path::new(&path));
    }
    let rounds = std::env::var("WAL_KILL_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let mut seen = BTreeMap::new();
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap().join("log");
        let medium = dir.path().join("medium");
        fs::create_dir(&path).unwrap();
        fs::create_dir(&medium).unwrap();
        let sync = ("FAULT_SYNC", (1 + round * 37 % 400).to_string());
        let errors = run(&path, &[sync], None);
        verify(&path, errors);

        // It ends only because that error is taken for one.
        let errors = errors.max(run(
            &path,
            &[("FAULT_BACK", (1 + round % 7).to_string())],
            None,
        ));
        verify(&path, errors);

        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let kept = [("FAULT_MEDIUM", medium.display().to_string())];
        let mut acknowledged = 0;
        for life in 0..3 {
            let limit = Duration::from_millis(60 + (round * 3 + life) * 17 % 150);
            acknowledged = acknowledged.max(run(&path, &kept, Some(limit)));
            cut_the_power(&path, &medium);
            // The inodes are other ones now: a copy of what is there begins a new medium.
            fs::remove_dir_all(&medium).unwrap();
            fs::create_dir(&medium).unwrap();
            verify(&path, acknowledged);
            adopt(&path, &medium);
        }
        seen.insert(round, (errors, acknowledged));
    }
    assert!(
        seen.values().any(|(_, acknowledged)| *acknowledged > 0),
        "{seen:?}"
    );
    assert!(seen.values().any(|(errors, _)| *errors > 0), "{seen:?}");
}

/// What lies there is durable now.
fn adopt(path: &Path, medium: &Path) {
    use std::os::unix::fs::DirEntryExt;
    let mut names = String::new();
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        fs::copy(entry.path(), medium.join(entry.ino().to_string())).unwrap();
        names += &format!("{} {name}\n", entry.ino());
    }
    fs::write(medium.join("names"), names).unwrap();
}
