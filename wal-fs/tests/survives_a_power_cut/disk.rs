//! The machine's disk: its contents before a life, the log of what was written and flushed during
//! it (by qemu, in the format of Linux's dm-log-writes), and what a power cut leaves of both.

use std::path::{Path, PathBuf};
use std::process::Command;

const BYTES: u64 = 64 << 20;
const SECTOR: usize = 512;
const FLUSH: u64 = 1;
/// Sectors that are stored together. It is the file system's block: ext4's superblock and the commit
/// blocks of its journal have a checksum over all of it, and with half of one it does not mount
/// (Ye Bin, "jbd2: avoid mount failed when commit block is partial submitted", LKML, April 2024).
const TOGETHER: usize = 2;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below the limit.
    pub(crate) fn up_to(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }
}

pub(crate) struct Disk {
    work: PathBuf,
    contents: Vec<u8>,
}

/// What the machine asked of its disk, in order.
pub(crate) enum Entry {
    Write { at: usize, data: Vec<u8> },
    Flush,
}

impl Entry {
    fn is_flush(&self) -> bool {
        matches!(self, Entry::Flush)
    }
}

/// The entries, and how long the log was before each of them.
pub(crate) struct Log(Vec<(u64, Entry)>);

impl Log {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Where the power may go: anywhere, or where a flush was about to come.
    pub(crate) fn place(&self, random: &mut Random) -> usize {
        let place = random.up_to(self.len());
        let to_flush = self.0[place..]
            .iter()
            .position(|(_, entry)| entry.is_flush());
        place + to_flush.filter(|_| random.up_to(2) == 0).unwrap_or(0)
    }

    /// How long the log was when it had so many entries.
    pub(crate) fn bytes_at(&self, place: usize) -> u64 {
        self.0.get(place).map_or(u64::MAX, |(begins, _)| *begins)
    }
}

pub(crate) struct Cut {
    pub(crate) contents: Vec<u8>,
    /// Writes of which not all is there.
    pub(crate) lost: usize,
}

impl Disk {
    pub(crate) fn format(work: &Path) -> Self {
        let disk = Self {
            work: work.to_owned(),
            contents: Vec::new(),
        };
        let file = std::fs::File::create(disk.file()).unwrap();
        file.set_len(BYTES).unwrap();
        let mut make = Command::new(format!("mkfs.{}", super::file_system()));
        match super::file_system().as_str() {
            "xfs" => make.args(["-q", "-f", "--unsupported"]), // so small a one is
            _ => make.args(["-q", "-F"]),
        };
        super::run(make.arg(disk.file()));
        Self {
            contents: std::fs::read(disk.file()).unwrap(),
            ..disk
        }
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.work.join("disk")
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.work.join("writes")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.work.join("console")
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) {
        std::fs::write(self.work.join(name), contents).unwrap();
    }

    pub(crate) fn become_this(&mut self, contents: Vec<u8>) {
        self.write("disk", &contents);
        self.contents = contents;
    }

    pub(crate) fn read_log(&self) -> Log {
        let bytes = std::fs::read(self.log_file()).unwrap();
        let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let mut entries = Vec::new();
        let mut at = SECTOR; // behind the superblock, whose count lags behind
        while let (Some(sector), Some(sectors), Some(flags)) =
            (word(at), word(at + 8), word(at + 16))
        {
            let begins = at as u64;
            let length = usize::try_from(sectors).unwrap() * SECTOR;
            at += SECTOR;
            if length > 0 {
                let Some(data) = bytes.get(at..at + length) else {
                    break;
                };
                let (place, data) = (usize::try_from(sector).unwrap() * SECTOR, data.to_vec());
                entries.push((begins, Entry::Write { at: place, data }));
                at += length;
            } else if flags & FLUSH == 0 {
                break; // the kill came before this entry
            }
            if flags & FLUSH != 0 {
                entries.push((begins, Entry::Flush));
            }
            assert_eq!(
                flags & !FLUSH,
                0,
                "an entry that is neither a write nor a flush"
            );
        }
        Log(entries)
    }

    /// What the power leaves that goes before this entry: all that was flushed, and of the rest what
    /// the disk had happened to store: all, nothing, some, or some in part.
    pub(crate) fn cut(&self, log: &Log, place: usize, random: &mut Random) -> Cut {
        let entries = &log.0[..place];
        let flushed = entries.iter().rposition(|(_, entry)| entry.is_flush());
        let flushed = flushed.unwrap_or(0);
        let mut cut = Cut {
            contents: self.contents.clone(),
            lost: 0,
        };
        let manner = random.up_to(4);
        for (n, (_, entry)) in entries.iter().enumerate() {
            let Entry::Write { at, data } = entry else {
                continue;
            };
            let whole = data.len() / SECTOR;
            let sectors = match manner {
                _ if n < flushed => 0..whole,
                0 => 0..whole,
                1 => 0..0,
                _ if random.up_to(2) == 0 => 0..0,
                2 => 0..whole,
                _ if random.up_to(2) == 0 => 0..torn(*at, whole, random),
                _ => torn(*at, whole, random)..whole,
            };
            cut.lost += usize::from(sectors.len() < whole);
            let bytes = sectors.start * SECTOR..sectors.end * SECTOR;
            cut.contents[at + bytes.start..at + bytes.end].copy_from_slice(&data[bytes]);
        }
        cut
    }
}

/// After how many of its sectors a write of so many at this place is torn.
fn torn(at: usize, sectors: usize, random: &mut Random) -> usize {
    let torn = random.up_to(sectors);
    torn.saturating_sub((at / SECTOR + torn) % TOGETHER)
}
