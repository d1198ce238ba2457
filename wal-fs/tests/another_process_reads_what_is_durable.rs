//! G10, G6 across processes: while a child writes, rolls and releases, and is killed and
//! replaced, the parent reads through a read-only view: only durable records, in order,
//! unchanged; what was released is named; nothing in the directory changes by it.
//!
//! The test starts itself as the child: `WAL_VIEW_DIR` names the log's directory.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wal_core::{Error, Lsn, Options, Wal};
use wal_fs::FileStorage;

fn open(path: &Path) -> Wal {
    let options = Options {
        segment_bytes: 256 << 10,
        append_bytes: 64 << 10,
        watermark_delay: Some(Duration::from_millis(5)),
        ..Options::default()
    };
    let (wal, _) = Wal::open(FileStorage::open(path).unwrap(), options).unwrap();
    wal
}

fn payload(lsn: u64) -> Vec<u8> {
    let length = 8 + usize::try_from(lsn * 7919 % 6000).unwrap();
    let mut payload = lsn.to_le_bytes().to_vec();
    payload.resize(length, lsn.to_le_bytes()[0]);
    payload
}

/// Commits for ever; says before each how far it may become durable, and releases most.
fn child(path: &Path) -> ! {
    let wal = open(path);
    loop {
        let next = wal.end();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", next.get() + 1)
            .and_then(|()| out.flush())
            .unwrap();
        wal.commit(payload(next.get())).unwrap();
        if next.get() % 40 == 39 {
            wal.release(Lsn::new(next.get() - 30)).unwrap();
        }
    }
}

fn spawn(path: &Path, promised: &Arc<AtomicU64>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_view_follows_a_writer", "--nocapture"])
        .env("WAL_VIEW_DIR", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, promised) = (child.stdout.take().unwrap(), Arc::clone(promised));
    std::thread::spawn(move || {
        let numbers = BufReader::new(out).lines().map_while(Result::ok);
        for number in numbers.filter_map(|line| line.parse().ok()) {
            promised.fetch_max(number, Ordering::SeqCst);
        }
    });
    child
}

#[test]
fn a_view_follows_a_writer() {
    if let Some(path) = std::env::var_os("WAL_VIEW_DIR") {
        child(Path::new(&path));
    }
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let promised = Arc::new(AtomicU64::new(0));
    let view = Wal::open_read_only(FileStorage::open(dir.path()).unwrap()).unwrap();
    let writer = Arc::new(Mutex::new(spawn(dir.path(), &promised)));
    let every = Duration::from_millis(1);
    let mut tail = view.tail(view.oldest(), every).unwrap();
    let (mut seen, mut overtaken, mut kills) = (0u64, 0, 0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) || seen < 100 {
        if start.elapsed() > Duration::from_millis(1500) * (kills + 1) {
            let mut writer = writer.lock().unwrap();
            writer.kill().unwrap();
            writer.wait().unwrap();
            *writer = spawn(dir.path(), &promised);
            kills += 1;
        }
        // A slow reader is overtaken by retention now and then.
        if seen % 500 == 499 {
            std::thread::sleep(Duration::from_millis(100));
        }
        match tail.next_timeout(Duration::from_millis(50)) {
            Ok(None) => {}
            Ok(Some(record)) => {
                assert_eq!(tail.position(), record.lsn.plus(1));
                assert_eq!(record.payload, payload(record.lsn.get()));
                seen += 1;
                // The line was written before the commit began, but may be read after.
                let shown = record.lsn.get();
                let late = Instant::now() + Duration::from_secs(5);
                while promised.load(Ordering::SeqCst) <= shown {
                    assert!(Instant::now() < late, "LSN {shown} was never appended");
                    std::thread::yield_now();
                }
            }
            Err(Error::Released { asked, oldest }) => {
                assert!(asked < oldest && asked == tail.position());
                overtaken += 1;
                tail = view.tail(oldest, every).unwrap();
            }
            Err(error) => panic!("after {seen} records, {kills} kills: {error}"),
        }
    }
    let mut writer = writer.lock().unwrap();
    writer.kill().unwrap();
    writer.wait().unwrap();
    println!("{seen} records seen, overtaken {overtaken} times, {kills} kills");
    assert!(kills > 0);
    let shown = view.refresh().unwrap();
    let end = open(dir.path()).end();
    assert!(end >= shown, "{shown} was shown, {end} is left");
}

#[test]
fn a_view_changes_nothing_and_needs_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path());
    for lsn in 0..50 {
        wal.commit(payload(lsn)).unwrap();
    }
    wal.close().unwrap();
    let files = || {
        let mut files: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        files.sort();
        files
    };
    let before = files();
    let view = Wal::open_read_only(FileStorage::open(dir.path()).unwrap()).unwrap();
    assert_eq!(view.reader(Lsn::ZERO).unwrap().count(), 50);
    assert!(view.recovery().clean);
    let wal = open(dir.path()); // the view holds no lock
    drop(wal);
    view.refresh().unwrap();
    drop(view);
    assert!(before == files(), "the view changed the directory");
}
