//! A directory that anything may have been done to: a sound log, then edits that the input names.

use std::path::PathBuf;
use std::sync::OnceLock;

use arbitrary::{Arbitrary, Unstructured};
use wal_core::{Durability, Wal};
use wal_fs::sim::{Metadata, SimDisk};

use crate::repair::repair;

const LOG: &str = "/srv/log";

/// One edit. Files are numbered in the order of their names.
#[derive(Arbitrary, Debug)]
enum Edit<'a> {
    /// Bytes over bytes; the offset in units of 8, the last in that of 4,096 behind it.
    Patch {
        file: u8,
        place: u16,
        bytes: &'a [u8],
    },
    /// All of a file's checksums are made right.
    Repair {
        file: u8,
    },
    Cut {
        file: u8,
        blocks: u8,
    },
    Remove {
        file: u8,
    },
    /// A file gets a second name, as a segment.
    Copy {
        file: u8,
        segment: u8,
        first: u8,
    },
    /// Any bytes under any of the names that mean something.
    Put {
        name: u8,
        bytes: &'a [u8],
    },
}

/// Does the edits, looks, and opens.
pub fn run(data: &[u8]) {
    let disk = SimDisk::new(1, Metadata::Journalled);
    for (path, contents) in sound() {
        disk.put(path, contents.clone());
    }
    let edits = Unstructured::new(data).arbitrary_take_rest_iter::<Edit<'_>>();
    for edit in edits.into_iter().flatten().map_while(Result::ok).take(32) {
        apply(&disk, edit);
    }
    super::stored::look(&|| open(&disk));
    disk.kill();
    let _ = super::stored::write(open(&disk));
}

fn open(disk: &SimDisk) -> wal_fs::FileStorage {
    disk.storage(LOG).unwrap_or_else(|error| panic!("{error}"))
}

fn apply(disk: &SimDisk, edit: Edit<'_>) {
    let files = disk.files();
    let named = |file: u8| -> PathBuf {
        let at = usize::from(file) % files.len().max(1);
        files.get(at).map(|file| file.0.clone()).unwrap_or_default()
    };
    let change = |file: u8, change: &dyn Fn(&mut Vec<u8>)| {
        let path = named(file);
        if let Some(mut contents) = disk.contents(&path) {
            change(&mut contents);
            disk.put(path, contents);
        }
    };
    match edit {
        Edit::Patch { file, place, bytes } => change(file, &|contents| {
            let at = usize::from(place) * 8;
            for (to, byte) in contents.iter_mut().skip(at).zip(bytes) {
                *to = *byte;
            }
        }),
        Edit::Repair { file } => change(file, &|contents| repair(contents)),
        Edit::Cut { file, blocks } => {
            change(file, &|contents| {
                contents.truncate(usize::from(blocks) * 4096)
            });
        }
        Edit::Remove { file } => disk.lose(named(file)),
        Edit::Copy {
            file,
            segment,
            first,
        } => {
            let contents = disk.contents(named(file)).unwrap_or_default();
            disk.put(format!("{LOG}/{segment:012}-{first:020}.wal"), contents);
        }
        Edit::Put { name, bytes } => {
            let names = [
                "LOCK",
                "reserve",
                "spare.ready",
                "spare.ready.2",
                "spare.building",
                "000000000001-00000000000000000000.wal.gone",
                "000000000009-00000000000000000000.wal",
                "99999999999999999999-00000000000000000000.wal",
                "x.wal",
            ];
            let name = names[usize::from(name) % names.len()];
            disk.put(format!("{LOG}/{name}"), bytes.to_vec());
        }
    }
}

/// A log of some segments, with holds, a truncation and a recovery behind it.
fn sound() -> &'static [(PathBuf, Vec<u8>)] {
    static SOUND: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
    SOUND.get_or_init(|| {
        let disk = SimDisk::new(7, Metadata::Journalled);
        for round in 0..3 {
            let (wal, _) = Wal::open(open(&disk), super::stored::options())
                .unwrap_or_else(|error| panic!("{error}"));
            for step in 0..14_u8 {
                let append = [vec![step; 900], vec![round; 20]];
                let durability = if step > 11 {
                    Durability::Accepted
                } else {
                    Durability::Durable
                };
                let commit = wal.append_with(append, durability);
                let _ = commit.and_then(|commit| commit.wait());
            }
            let _ = wal.set_hold("held", wal.oldest());
            if round == 1 {
                let _ = wal.truncate(wal.end());
                let _ = wal.close();
            }
            disk.kill();
        }
        let files = disk.files().into_iter().map(|(path, _)| path);
        files
            .map(|path| (path.clone(), disk.contents(&path).unwrap_or_default()))
            .collect()
    })
}
