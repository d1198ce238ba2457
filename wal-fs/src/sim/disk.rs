//! The state of a simulated disk: what processes see, what the medium has, and what lies
//! between.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::pending::{Change, What};
use super::random::Random;
use super::{Fault, Metadata};

/// Space is counted in blocks of this size.
pub(super) const BLOCK: u64 = 4096;
/// How many calls the trace remembers.
const TRACE: usize = 40;

pub(super) type InodeId = u64;

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) metadata: Metadata,
    pub(super) random: Random,
    /// Which processes live: those that were started in this life.
    pub(super) life: u64,
    pub(super) calls: u64,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) trace: VecDeque<String>,
    pub(super) plan: Option<(u64, Fault)>,
    /// The call at which the planned fault happened.
    pub(super) struck: Option<&'static str>,
    pub(super) noise: bool,
    /// The error of every change, if changes are refused.
    pub(super) refusal: Option<io::ErrorKind>,
    pub(super) capacity: u64,
    pub(super) inodes: BTreeMap<InodeId, Inode>,
    next: u64,
    /// What processes see.
    pub(super) names: BTreeMap<PathBuf, InodeId>,
    /// What the medium has.
    pub(super) durable: BTreeMap<PathBuf, InodeId>,
    /// Changes of names and lengths that are not durable yet, in order.
    pub(super) pending: Vec<Change>,
    /// Contents of files that are gone: their blocks may shine through.
    pub(super) stale: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) is_directory: bool,
    pub(super) cache: Vec<u8>,
    pub(super) medium: Vec<u8>,
    /// Written and not synced, in order.
    pub(super) unsynced: Vec<Extent>,
    /// Lost by a sync that failed: the cache shows it, the medium has some of it or nothing,
    /// and no later sync will store it.
    pub(super) lost: Vec<Extent>,
    /// Bytes for which blocks exist.
    pub(super) allocated: u64,
    /// Open files, and who of them has a lock, and whether that is exclusive.
    pub(super) opens: u64,
    pub(super) locks: Vec<(u64, bool)>,
}

#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

impl Disk {
    pub(super) fn new(seed: u64, metadata: Metadata) -> Self {
        let mut disk = Disk {
            metadata,
            random: Random::new(seed),
            life: 1,
            calls: 0,
            counts: BTreeMap::new(),
            trace: VecDeque::new(),
            plan: None,
            struck: None,
            noise: false,
            refusal: None,
            capacity: u64::MAX,
            inodes: BTreeMap::new(),
            next: 1,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            stale: Vec::new(),
        };
        let root = disk.new_inode(true);
        disk.names.insert("/".into(), root);
        disk.durable.insert("/".into(), root);
        disk
    }

    pub(super) fn reseed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn new_inode(&mut self, is_directory: bool) -> InodeId {
        let id = self.number();
        let inode = Inode {
            is_directory,
            ..Inode::default()
        };
        self.inodes.insert(id, inode);
        id
    }

    pub(super) fn note(&mut self, kind: &'static str, about: &dyn std::fmt::Debug) {
        self.calls += 1;
        *self.counts.entry(kind).or_default() += 1;
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        let text = format!("{} {kind} {about:?}", self.calls - 1);
        self.trace.push_back(text);
    }

    /// A file that was always there, in a directory that was, too.
    pub(super) fn put(&mut self, path: &Path, contents: Vec<u8>) {
        self.lose(path);
        for above in path.ancestors().skip(1) {
            if !self.names.contains_key(above) {
                let id = self.new_inode(true);
                self.names.insert(above.into(), id);
                self.durable.insert(above.into(), id);
            }
        }
        let id = self.new_inode(false);
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.allocated = (contents.len() as u64).next_multiple_of(BLOCK);
            inode.medium.clone_from(&contents);
            inode.cache = contents;
        }
        self.names.insert(path.into(), id);
        self.durable.insert(path.into(), id);
    }

    /// A name that is gone.
    pub(super) fn lose(&mut self, path: &Path) {
        self.names.remove(path);
        self.durable.remove(path);
        self.collect();
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        let found = self.names.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<()> {
        let found = self.inodes.get(&self.find(path)?);
        match found.is_some_and(|inode| inode.is_directory) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn inode(&mut self, id: InodeId) -> io::Result<&mut Inode> {
        let found = self.inodes.get_mut(&id);
        found.ok_or_else(|| io::Error::other("a file that is gone"))
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let files = self.names.iter().filter_map(|(path, id)| {
            let inode = self.inodes.get(id).filter(|inode| !inode.is_directory)?;
            Some((path.clone(), inode.cache.len() as u64))
        });
        files.collect()
    }

    pub(super) fn directories(&self) -> impl Iterator<Item = InodeId> + '_ {
        let inodes = self.inodes.iter();
        inodes
            .filter(|(_, inode)| inode.is_directory)
            .map(|(id, _)| *id)
    }

    /// Forgets files without a name, unless somebody has them open or a crash may bring them back.
    pub(super) fn collect(&mut self) {
        let wanted = |id: &InodeId| {
            self.names.values().any(|named| named == id)
                || self.durable.values().any(|named| named == id)
                || self.pending.iter().any(|change| change.inode == *id)
        };
        let gone: Vec<_> = self
            .inodes
            .iter()
            .filter(|(id, inode)| inode.opens == 0 && !wanted(id))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(inode) = self.inodes.remove(&id).filter(|it| !it.is_directory) {
                self.stale = inode.medium;
            }
        }
    }

    /// Bytes for which blocks are taken: by files that have a name or are open.
    pub(super) fn used(&self) -> u64 {
        let in_use = |id: &InodeId, inode: &Inode| {
            inode.opens > 0 || self.names.values().any(|named| named == id)
        };
        let inodes = self.inodes.iter();
        inodes
            .filter(|(id, inode)| in_use(id, inode))
            .map(|(_, inode)| inode.allocated)
            .sum()
    }

    /// How far the file can grow: the end of what could be allocated for it now.
    pub(super) fn room(&self, id: InodeId) -> u64 {
        let allocated = self.inodes.get(&id).map_or(0, |inode| inode.allocated);
        let free = self.capacity.saturating_sub(self.used()) / BLOCK * BLOCK;
        allocated.saturating_add(free)
    }

    pub(super) fn set_length(&mut self, id: InodeId, length: usize) -> io::Result<()> {
        let inode = self.inode(id)?;
        if inode.cache.len() == length {
            return Ok(());
        }
        if length < inode.cache.len() {
            inode.allocated = inode.allocated.min((length as u64).next_multiple_of(BLOCK));
            for extent in inode.unsynced.iter_mut().chain(&mut inode.lost) {
                extent.bytes.truncate(length.saturating_sub(extent.offset));
            }
        }
        resize(&mut inode.cache, length);
        self.change(id, What::Length(length), true);
        Ok(())
    }
}

/// As `Vec::resize` with zeros, but fast also where nothing is optimised.
pub(super) fn resize(file: &mut Vec<u8>, length: usize) {
    file.truncate(length);
    file.append(&mut vec![0; length - file.len()]);
}

impl Inode {
    /// What was written and not synced and lies, at least in part, in this range.
    pub(super) fn take_unsynced(&mut self, range: &Range<usize>) -> Vec<Extent> {
        let touched = |extent: &mut Extent| {
            extent.offset < range.end && range.start < extent.offset + extent.bytes.len()
        };
        self.unsynced.extract_if(.., touched).collect()
    }
}

impl Extent {
    /// Puts the bytes in their place, as far as the file reaches.
    pub(super) fn store(&self, file: &mut [u8]) {
        let end = file.len().min(self.offset + self.bytes.len());
        let length = end.saturating_sub(self.offset);
        let places = file.get_mut(self.offset..end).unwrap_or_default();
        places.copy_from_slice(self.bytes.get(..length).unwrap_or_default());
    }
}
