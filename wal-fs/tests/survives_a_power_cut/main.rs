//! G1, G2, G3, G7, G10 on a disk that forgets, under `scripts/power-cut.sh`: a virtual machine whose
//! kernel, file system and log are the real ones appends, rolls, holds and releases, and is killed.
//! Its disk logs every write and every flush, so the disk can be rebuilt as a power cut at any
//! moment leaves it: all that was flushed, and whatever may be left of the rest.
//!
//! The machine's program is this test again: `WAL_POWER_PORT` names where it tells what it does.

mod disk;
mod machine;
mod promises;
mod writer;

use std::path::{Path, PathBuf};
use std::process::Command;

use disk::{Disk, Random};
use machine::Machine;
use promises::Promises;

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn file_system() -> String {
    setting("WAL_POWER_FS", "ext4".to_owned())
}

#[test]
#[ignore = "needs the virtual machine that scripts/power-cut.sh makes"]
fn what_was_acknowledged_survives_a_power_cut() {
    if let Some(port) = std::env::var_os("WAL_POWER_PORT") {
        return writer::run(Path::new(&port));
    }
    let parts = PathBuf::from(std::env::var("WAL_POWER_MACHINE").expect("WAL_POWER_MACHINE"));
    let mut random = Random(setting("WAL_POWER_SEED", 1));
    let work = tempfile::tempdir().unwrap();
    let mut disk = Disk::format(work.path());
    let mut promises = Promises::default();
    let disks = setting("WAL_POWER_CUTS", 12).max(1);
    let (mut cuts, mut lost, mut acknowledged) = (0, 0, 0);
    for life in 1..=setting("WAL_POWER_ROUNDS", 5) {
        let machine = Machine::start(&parts, &disk, life);
        let said = machine.kill_after(random.up_to(setting("WAL_POWER_APPENDS", 200)));
        let told = said.iter().filter(|said| said.is_an_acknowledgement());
        acknowledged += told.count();

        let log = disk.read_log();
        let mut places: Vec<_> = (1..disks).map(|_| log.place(&mut random)).collect();
        places.push(log.len()); // where it really was killed
        // One of the disks is the next life's. Nobody has recovered the log on it yet.
        let next = random.up_to(disks);
        let mut chosen = None;
        for (n, place) in places.into_iter().enumerate() {
            let cut = disk.cut(&log, place, &mut random);
            let kept = promises.and(&said, &log, place);
            cuts += 1;
            lost += cut.lost;
            look_at(&disk, &cut.contents, &kept, life, &parts);
            if n == next {
                chosen = Some((cut.contents, kept));
            }
        }
        let (contents, kept) = chosen.expect("one of them");
        disk.become_this(contents);
        promises = kept;
        println!("life {life}: {} writes and flushes, {promises}", log.len());
    }
    println!("{cuts} power cuts took {lost} writes; {acknowledged} appends were acknowledged");
    assert!(acknowledged > 0, "the machine never got to work");
}

/// Mounts this, and checks the log on it; keeps what fails.
fn look_at(disk: &Disk, contents: &[u8], kept: &Promises, life: u64, parts: &Path) {
    disk.write("cut", contents);
    let checked = std::panic::catch_unwind(|| {
        let disk = Mounted::new(disk.work());
        kept.check(&disk.log(), life);
    });
    if let Err(panic) = checked {
        let failed = parts.join("failed.image");
        std::fs::write(&failed, contents).unwrap();
        eprintln!("life {life}: {}", failed.display());
        std::panic::resume_unwind(panic);
    }
}

/// The rebuilt disk's file system, mounted until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(work: &Path) -> Self {
        let place = work.join("mounted");
        std::fs::create_dir_all(&place).unwrap();
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(work.join("cut"))
            .arg(&place));
        Self(place)
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.0));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("it starts");
    assert!(status.success(), "{command:?}: {status}");
}
