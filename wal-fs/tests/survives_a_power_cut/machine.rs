//! The virtual machine: started on a disk, listened to, killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::disk::Disk;
use super::promises::Said;

pub(crate) struct Machine {
    qemu: Child,
    /// Without a reader on the other side, the machine could say nothing.
    _line: ChildStdin,
    said: Receiver<Said>,
    console: std::path::PathBuf,
}

/// An emulated machine that says nothing for so long never will.
const PATIENCE: Duration = Duration::from_secs(120);

impl Machine {
    pub(crate) fn start(parts: &Path, disk: &Disk, life: u64) -> Self {
        let (image, log, console) = (disk.file(), disk.log_file(), disk.console());
        std::fs::write(&log, []).unwrap();
        // No timer check: an emulator that is kept waiting fails it.
        let mut kernel = format!(
            "console=ttyS0 quiet panic=-1 random.trust_cpu=on no_timer_check \
             WAL_LIFE={life} WAL_POWER_FS={}",
            super::file_system()
        );
        if let Ok(bug) = std::env::var("WAL_PLANTED") {
            kernel += &format!(" WAL_PLANTED={bug}");
        }
        let file = |node: &str, path: &Path| {
            format!("driver=file,node-name={node},filename={}", path.display())
        };
        let accelerator = std::env::var("WAL_POWER_ACCEL").unwrap_or("tcg".into());
        let mut qemu = Command::new("qemu-system-x86_64")
            .args([
                "-accel",
                &accelerator,
                "-cpu",
                "max",
                "-smp",
                "2",
                "-m",
                "256",
            ])
            .args([
                "-nodefaults",
                "-no-user-config",
                "-no-reboot",
                "-display",
                "none",
            ])
            .arg("-kernel")
            .arg(parts.join("kernel"))
            .arg("-initrd")
            .arg(parts.join("initramfs"))
            .args(["-append", &kernel])
            .args(["-serial", &format!("file:{}", console.display())])
            .args([
                "-device",
                "virtio-serial-pci",
                "-chardev",
                "stdio,id=line,signal=off",
            ])
            .args(["-device", "virtserialport,chardev=line"])
            .args([
                "-blockdev",
                &file("image", &image),
                "-blockdev",
                &file("log", &log),
            ])
            .args([
                "-blockdev",
                "driver=blklogwrites,node-name=disk,file=image,log=log",
            ])
            .args([
                "-device",
                "virtio-blk-pci,drive=disk,write-cache=on,discard=off,write-zeroes=off",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("qemu starts");
        let line = qemu.stdin.take().unwrap();
        let out = BufReader::new(qemu.stdout.take().unwrap());
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // What was flushed before this was said stands in the log by now.
                let logged = std::fs::metadata(&log).map_or(u64::MAX, |log| log.len());
                let Some(said) = Said::parse(&line, logged) else {
                    continue;
                };
                if sender.send(said).is_err() {
                    return;
                }
            }
        });
        Self {
            qemu,
            _line: line,
            said,
            console,
        }
    }

    /// Lets the machine work until so many appends were acknowledged, and kills it. All that it said.
    pub(crate) fn kill_after(mut self, appends: usize) -> Vec<Said> {
        let mut all = Vec::new();
        let mut acknowledged = 0;
        while all.is_empty() || acknowledged < appends {
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => {
                    acknowledged += usize::from(said.is_an_acknowledgement());
                    all.push(said);
                }
                Err(RecvTimeoutError::Timeout) => self.gone("does nothing"),
                Err(RecvTimeoutError::Disconnected) => self.gone("stopped by itself"),
            }
        }
        self.qemu.kill().unwrap();
        self.qemu.wait().unwrap();
        all.extend(self.said.iter());
        all
    }

    fn gone(&mut self, how: &str) -> ! {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
        let console = std::fs::read_to_string(&self.console).unwrap_or_default();
        panic!("the machine {how}; its console:\n{console}");
    }
}
