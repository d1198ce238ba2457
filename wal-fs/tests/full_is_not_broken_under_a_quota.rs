//! G7 where a real quota is the limit, and the disk is not full. Run by `scripts/quota.sh`, which
//! makes a place that has one: `WAL_QUOTA_DIR` names a directory in it, `WAL_QUOTA_LIMIT` is a
//! command that sets the limit to `$KIB`, and `WAL_QUOTA_UID` the user whom it binds, if not all.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use wal_core::{Error, Lsn, Options, Wal};
use wal_fs::FileStorage;

fn dir() -> PathBuf {
    PathBuf::from(std::env::var_os("WAL_QUOTA_DIR").expect("run scripts/quota.sh"))
}

fn open() -> Wal {
    let options = Options {
        segment_bytes: 1 << 20,
        append_bytes: 256 << 10,
        ..Options::default()
    };
    Wal::open(FileStorage::open(dir()).unwrap(), options)
        .unwrap()
        .0
}

/// The record at each LSN is known: what is there was appended there.
fn payload(lsn: u64) -> Vec<u8> {
    lsn.to_le_bytes().repeat(4_000)
}

fn count(wal: &Wal) -> u64 {
    let mut next = 0;
    for record in wal.reader(Lsn::ZERO).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.payload, payload(next));
        next += 1;
    }
    next
}

fn limit(kib: u64) {
    let command = std::env::var("WAL_QUOTA_LIMIT").expect("run scripts/quota.sh");
    let mut shell = Command::new("sh");
    let set = shell.args(["-c", &command]).env("KIB", kib.to_string());
    assert!(set.status().unwrap().success(), "{command}");
}

/// Appends up to the limit, says how far it got, and goes on once it is told to.
fn child() {
    let wal = open();
    let found = count(&wal);
    let full = loop {
        match wal.commit(payload(wal.end().get())) {
            Ok(_) => {}
            Err(Error::Full(why)) => break why.to_string(),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(full.contains("os error 122"), "no quota's limit: {full}");
    assert_eq!(count(&wal), wal.end().get(), "reading goes on");
    println!("\nfull {found} {}", wal.end());
    std::io::stdout().flush().unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let more = wal.commit(payload(wal.end().get())).unwrap();
    wal.close().unwrap();
    println!("\nclosed {} {}", more.start, more.end);
}

/// A child at work, and what it says.
fn start() -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--nocapture"]);
    child.env("WAL_QUOTA_CHILD", "1");
    if let Ok(uid) = std::env::var("WAL_QUOTA_UID") {
        child.uid(uid.parse().unwrap());
    }
    let child = child.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, said)
}

/// The two numbers behind a word.
fn heard(said: &mut Lines<BufReader<ChildStdout>>, word: &str) -> (u64, u64) {
    let mut lines = said.map(Result::unwrap);
    let line = lines.find(|line| line.starts_with(word));
    let line = line.unwrap_or_else(|| panic!("it died before it said `{word}`"));
    let mut numbers = line
        .split(' ')
        .skip(1)
        .map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
#[ignore = "needs a quota"]
fn the_log_goes_on_when_a_quota_is_raised() {
    if std::env::var_os("WAL_QUOTA_CHILD").is_some() {
        return child();
    }
    limit(24 << 10);
    let mut acknowledged = 0;
    for _ in 0..4 {
        let (mut child, mut said) = start();
        let (found, end) = heard(&mut said, "full");
        assert!(found >= acknowledged, "{found} are left of {acknowledged}");
        acknowledged = end;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        acknowledged > 300,
        "{acknowledged}: the quota is smaller than set"
    );
    let (mut child, mut said) = start(); // opens at the limit
    let (found, end) = heard(&mut said, "full");
    assert!(found >= acknowledged, "{found} are left of {acknowledged}");
    limit(32 << 10);
    child.stdin.take().unwrap().write_all(b"raised\n").unwrap();
    assert_eq!(heard(&mut said, "closed"), (end, end + 1));
    assert!(child.wait().unwrap().success());
    let wal = open();
    assert_eq!(count(&wal), end + 1);
}
