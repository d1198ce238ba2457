//! The writer that is killed or stopped: a process that appends, and says what was acknowledged.
//!
//! The n-th append holds [`GROUP`] records, each beginning with n and with the process that
//! wrote it. So the log itself tells whether something is lost, torn, repeated, or another's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use wal_core::{Append, Error, Lsn, StorageError, Wal};

/// Records per append.
const GROUP: u64 = 3;
/// What a child says last, in place of a number.
pub(crate) const FENCED: &str = "fenced";
/// So long may a server, or what is under way, take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the environment asks of a child: to write there, or to open only.
const WRITE: &str = "WAL_S3_CHILD_WRITES";
const OPEN: &str = "WAL_S3_CHILD_OPENS";

/// Not a test: what a child does.
#[test]
#[ignore = "is started by the other tests"]
fn child() {
    if let Ok(url) = std::env::var(WRITE) {
        println!("{}", write(&url));
    } else if let Ok(url) = std::env::var(OPEN) {
        let opened = super::open(&url);
        let said = opened.map_or_else(|error| error.to_string(), |_| "opened".to_owned());
        println!("{OPEN}{said}");
    }
}

/// Appends from four threads until it cannot; why.
fn write(url: &str) -> String {
    let (wal, recovery) = match super::open(url) {
        Ok(opened) => opened,
        Err(error) => return format!("not opened: {error}"),
    };
    assert_eq!(recovery.end.get() % GROUP, 0, "an append was torn");
    let next = Mutex::new(recovery.end.get() / GROUP);
    let fenced = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let why = append_until_stopped(&wal, &next, recovery.end);
                let stopped = matches!(
                    why,
                    Error::Poisoned {
                        cause: StorageError::Fenced(_),
                        ..
                    }
                );
                assert!(stopped, "{why}");
                fenced.store(true, Ordering::Relaxed);
            });
        }
    });
    assert!(fenced.into_inner());
    FENCED.to_owned()
}

/// Releases what was there before it, under way: that has been looked at.
fn append_until_stopped(wal: &Wal, next: &Mutex<u64>, before: Lsn) -> Error {
    loop {
        let (n, appended) = {
            let mut next = next.lock().unwrap();
            *next += 1;
            (*next - 1, wal.append(group(*next - 1)))
        };
        if let Err(why) = appended.and_then(|commit| commit.wait()) {
            return why;
        }
        say(n);
        if n % 20 == 19
            && let Err(why) = wal.release(before)
        {
            return why;
        }
    }
}

fn say(n: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{n}").and_then(|()| out.flush()).unwrap();
}

fn group(n: u64) -> Append<'static> {
    let mut record = n.to_le_bytes().to_vec();
    record.extend(std::process::id().to_le_bytes());
    record.resize(record.len() + usize::try_from(n * 7919 % 4000).unwrap(), 7);
    (0..GROUP).map(|_| &record).collect()
}

/// A child that writes.
pub(crate) struct Writer {
    child: Child,
    said: mpsc::Receiver<String>,
    acknowledged: Vec<u64>,
}

impl Writer {
    pub(crate) fn start(url: &str) -> Self {
        let mut child = command(WRITE, url).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (says, said) = mpsc::channel();
        std::thread::spawn(move || pass_on(lines, &says));
        Writer {
            child,
            said,
            acknowledged: Vec::new(),
        }
    }

    /// Waits until so many more appends are acknowledged; whatever else it said.
    pub(crate) fn acknowledges(&mut self, count: usize) -> Option<String> {
        let enough = self.acknowledged.len() + count;
        while self.acknowledged.len() < enough {
            let said = self.said.recv_timeout(PATIENCE);
            let said = said.expect("the writer says something, and does not end by itself");
            match said.parse() {
                Ok(n) => self.acknowledged.push(n),
                Err(_) => return Some(said),
            }
        }
        None
    }

    /// Until it ends by itself: what it said last.
    pub(crate) fn ends(&mut self) -> String {
        self.acknowledges(usize::MAX / 2).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &process]).status();
        assert!(sent.unwrap().success());
    }

    /// SIGKILL. What was acknowledged until then, and by whom.
    pub(crate) fn kill(mut self) -> BTreeMap<u64, u32> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let rest = self.said.iter().filter_map(|said| said.parse::<u64>().ok());
        self.acknowledged.extend(rest);
        let process = self.child.id();
        self.acknowledged.drain(..).map(|n| (n, process)).collect()
    }
}

/// Numbers and last words; the rest is the test harness's.
fn pass_on(lines: Lines<BufReader<ChildStdout>>, says: &mpsc::Sender<String>) {
    for line in lines.map_while(Result::ok) {
        let word = line.starts_with(FENCED) || line.starts_with("not opened");
        if (word || line.parse::<u64>().is_ok()) && says.send(line).is_err() {
            return;
        }
    }
}

fn command(what: &str, url: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::child", "--ignored", "--nocapture"])
        .env(what, url)
        .stdout(Stdio::piped());
    command
}

/// What an open says in a process with another environment: an error, or "opened".
pub(crate) fn open_with(url: &str, environment: &[(&str, &str)]) -> String {
    let environment = environment.iter().copied();
    let output = command(OPEN, url).envs(environment).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said.split(OPEN).nth(1).unwrap_or(&said);
    said.split("\ntest ")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Takes the log over, and looks at every record: what was acknowledged is there, of who was told
/// so, and nothing twice. How many appends the log holds, and the oldest that is left.
pub(crate) fn verify(url: &str, acknowledged: &BTreeMap<u64, u32>) -> (u64, u64) {
    let (wal, recovery) = super::open(url).unwrap();
    assert_eq!(recovery.end.get() % GROUP, 0, "an append was torn");
    let end = recovery.end.get() / GROUP;
    let beyond = acknowledged.range(end..).next();
    assert_eq!(beyond, None, "acknowledged, and lost: the log holds {end}");
    let mut next = recovery.oldest;
    for record in wal.reader(next).unwrap() {
        let record = record.unwrap();
        assert_eq!(record.lsn, next);
        let n = next.get() / GROUP;
        assert_eq!(record.payload[..8], n.to_le_bytes());
        if let Some(process) = acknowledged.get(&n) {
            let writer = &record.payload[8..12];
            assert_eq!(writer, process.to_le_bytes(), "append {n} is another's");
        }
        next = next.plus(1);
    }
    assert_eq!(next, recovery.end);
    wal.close().unwrap();
    (end, recovery.oldest.get().div_ceil(GROUP))
}
