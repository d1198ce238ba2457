//! G7 on a real file system that is full. Run by `scripts/small-disk.sh`, which makes one:
//! `WAL_SMALL_DIR` names a directory on it. A copy-on-write file system may find no space in the
//! middle of a frame, which is G5's: there, only what is named `..._loses_nothing` holds.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use wal_core::{Error, Lsn, Options, Wal};
use wal_fs::FileStorage;

fn place() -> PathBuf {
    PathBuf::from(std::env::var_os("WAL_SMALL_DIR").expect("run scripts/small-disk.sh"))
}

fn open(path: &Path) -> Result<Wal, Error> {
    let options = Options {
        segment_bytes: 1 << 20,
        append_bytes: 256 << 10,
        ..Options::default()
    };
    Ok(Wal::open(FileStorage::open(path)?, options)?.0)
}

fn fill(wal: &Wal) -> u64 {
    loop {
        match wal.commit(vec![1; 30_000]) {
            Ok(_) => {}
            Err(Error::Full(_)) => return wal.end().get(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Takes what is left, to the last block.
fn eat_everything(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; size]).is_ok() && file.sync_all().is_ok() {}
    }
}

/// Space that can be given back later.
fn ballast() -> PathBuf {
    let path = place().join("ballast");
    fs::write(&path, vec![7; 8 << 20]).unwrap();
    path
}

fn count(wal: &Wal) -> u64 {
    wal.reader(wal.oldest())
        .unwrap()
        .map(Result::unwrap)
        .count() as u64
}

#[test]
#[ignore = "needs a small file system"]
fn a_full_disk_breaks_nothing_and_space_brings_the_log_back() {
    let dir = place().join("fill");
    let ballast = ballast();
    let wal = open(&dir).unwrap();
    let full = fill(&wal);
    assert!(full > 100);
    eat_everything(&place().join("eaten"));
    assert!(matches!(wal.commit(vec![1; 200_000]), Err(Error::Full(_))));
    assert_eq!(count(&wal), full);
    wal.close().unwrap();

    let wal = open(&dir).unwrap(); // at zero free bytes
    assert!(matches!(wal.commit(vec![1; 200_000]), Err(Error::Full(_))));
    fs::remove_file(ballast).unwrap();
    assert_eq!(wal.commit("fits").unwrap().start, Lsn::new(full));
    wal.release(wal.end()).unwrap();
    wal.close().unwrap();
    fs::remove_dir_all(dir).unwrap();
    fs::remove_file(place().join("eaten")).unwrap();
}

/// The record at each LSN is known: what is there was appended there.
fn numbered(lsn: u64) -> Vec<u8> {
    lsn.to_le_bytes().repeat(3_000)
}

fn count_numbered(wal: &Wal) -> u64 {
    let records = wal.reader(Lsn::ZERO).unwrap().map(Result::unwrap);
    let in_order = records.map(|it| assert_eq!(it.payload, numbered(it.lsn.get())));
    in_order.count() as u64
}

/// Appends until it fails, however; what was acknowledged.
fn append_until_it_fails(wal: &Wal) -> u64 {
    let mut end = wal.end().get();
    while wal.commit(numbered(end)).is_ok() {
        end += 1;
    }
    end
}

#[test]
#[ignore = "needs a small file system"]
fn a_disk_that_is_full_at_any_place_loses_nothing() {
    let dir = place().join("any");
    let ballast = ballast();
    let (mut acknowledged, mut opened) = (0, 0);
    for round in 0..8 {
        match open(&dir) {
            Ok(wal) => {
                assert!(count_numbered(&wal) >= acknowledged, "of {acknowledged}");
                acknowledged = append_until_it_fails(&wal);
                opened += 1;
            }
            // There was no space to open it: it may be tried again.
            Err(Error::Full(_) | Error::Poisoned { .. } | Error::Storage(_)) => {}
            Err(error) => panic!("{error}"),
        }
        if round == 0 {
            eat_everything(&place().join("eaten"));
        }
    }
    println!("opened {opened} times of 8, {acknowledged} acknowledged");
    assert!(acknowledged > 100);
    fs::remove_file(ballast).unwrap();
    fs::remove_file(place().join("eaten")).unwrap();
    let wal = open(&dir).unwrap();
    let found = count_numbered(&wal);
    assert!(found >= acknowledged, "{found} of {acknowledged}");
    wal.commit("space is back").unwrap();
    wal.close().unwrap();
    fs::remove_dir_all(dir).unwrap();
}

#[test]
#[ignore = "needs a small file system"]
fn kills_at_zero_free_bytes_lose_nothing_and_consume_no_more() {
    if let Some(path) = std::env::var_os("WAL_FULL_CHILD") {
        return child(Path::new(&path));
    }
    let dir = place().join("kill");
    let ballast = ballast();
    let mut acknowledged = 0;
    let mut space = Vec::new();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kills_at_zero_free_bytes_lose_nothing_and_consume_no_more",
            ])
            .args(["--ignored", "--nocapture"])
            .env("WAL_FULL_CHILD", &dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("full at ") {
            line.clear();
            assert!(
                std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0,
                "it died"
            );
        }
        acknowledged =
            acknowledged.max(line.trim_start_matches("full at ").trim().parse().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        if round == 0 {
            eat_everything(&place().join("eaten"));
        }
        space.push(used(&dir));
        let found = Wal::inspect(FileStorage::open(&dir).unwrap()).unwrap();
        assert!(
            found.end.get() >= acknowledged,
            "{found:?}, {acknowledged} acknowledged"
        );
    }
    assert!(space[11] <= space[2], "it grew: {space:?}");
    fs::remove_file(ballast).unwrap();
    let wal = open(&dir).unwrap();
    assert!(count(&wal) >= acknowledged);
    wal.commit("space is back").unwrap();
    wal.close().unwrap();
    fs::remove_dir_all(dir).unwrap();
    drop(fs::remove_file(place().join("eaten")));
}

/// Appends until there is no space, says how far it got, and waits for the kill.
fn child(dir: &Path) {
    let wal = open(dir).unwrap();
    let full = fill(&wal);
    println!("\nfull at {full}");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(60));
}

fn used(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.metadata().unwrap().len()).sum()
}
