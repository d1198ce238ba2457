//! What power loss leaves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::Metadata;
use super::disk::{BLOCK, Disk, Extent, Inode, InodeId};
use super::pending::What;
use super::random::Random;

/// A disk stores a sector whole or not at all.
const SECTOR: usize = 512;

impl Disk {
    pub(super) fn crash(&mut self) {
        match self.metadata {
            Metadata::Journalled => self.keep_a_prefix(),
            Metadata::Strict => self.keep_any(),
        }
        let stale = (self.metadata == Metadata::Strict).then_some(self.stale.as_slice());
        for inode in self.inodes.values_mut() {
            inode.lose_power(&mut self.random, stale);
        }
        self.names = std::mem::take(&mut self.durable);
        self.forget_orphans();
        self.durable = self.names.clone();
        self.end_of_life();
    }

    /// A sync failed: some of the data may be on the medium, the pages are marked clean all the
    /// same, and nobody will write them again.
    pub(super) fn fail_sync(&mut self, id: InodeId, range: &Range<usize>) {
        let stale = (self.metadata == Metadata::Strict).then_some(self.stale.as_slice());
        if let Some(inode) = self.inodes.get_mut(&id) {
            for extent in inode.take_unsynced(range) {
                extent.suffer(&mut inode.medium, &mut self.random, stale);
                inode.lost.push(extent);
            }
        }
    }

    pub(super) fn kill(&mut self) {
        for inode in self.inodes.values_mut() {
            // Pages that are clean, as far as the cache knows, may leave it.
            if !inode.lost.is_empty() && self.random.one_in(2) {
                inode.drop_cache();
            }
        }
        self.end_of_life();
    }

    pub(super) fn end_of_life(&mut self) {
        self.life += 1;
        self.plan = None;
        for inode in self.inodes.values_mut() {
            inode.opens = 0;
            inode.locks.clear();
        }
        self.collect();
    }

    /// The journal ends somewhere.
    fn keep_a_prefix(&mut self) {
        let changes = std::mem::take(&mut self.pending);
        let kept = match self.random.below(4) {
            0 => 0,
            1 => changes.len(),
            _ => self.random.below(changes.len() + 1),
        };
        for change in changes.iter().take(kept) {
            self.apply(&change.what, change.inode);
        }
    }

    /// Every name and every length is what it was at any moment since it was last durable.
    fn keep_any(&mut self) {
        let mut names: BTreeMap<PathBuf, Vec<Option<InodeId>>> = BTreeMap::new();
        let mut lengths: BTreeMap<InodeId, Vec<usize>> = BTreeMap::new();
        for change in std::mem::take(&mut self.pending) {
            match change.what {
                What::Names(changed) => {
                    for (path, to) in changed {
                        names.entry(path).or_default().push(to);
                    }
                }
                What::Length(length) => lengths.entry(change.inode).or_default().push(length),
            }
        }
        for (path, history) in names {
            if let Some(to) = pick(&mut self.random, &history) {
                self.apply(&What::Names(vec![(path, to)]), 0);
            }
        }
        for (inode, history) in lengths {
            if let Some(length) = pick(&mut self.random, &history) {
                self.apply(&What::Length(length), inode);
            }
        }
    }

    /// Names in a directory that is itself gone.
    fn forget_orphans(&mut self) {
        let directories: Vec<PathBuf> = self.names.keys().cloned().collect();
        self.names.retain(|path, _| {
            path.ancestors()
                .all(|above| directories.iter().any(|known| known == above))
        });
    }
}

/// One of the later states, or none of them.
fn pick<T: Clone>(random: &mut Random, history: &[T]) -> Option<T> {
    let at = random.below(history.len() + 1);
    history.get(at).cloned()
}

impl Inode {
    fn lose_power(&mut self, random: &mut Random, stale: Option<&[u8]>) {
        self.lost.clear();
        for extent in std::mem::take(&mut self.unsynced) {
            extent.suffer(&mut self.medium, random, stale);
        }
        self.cache.clone_from(&self.medium);
        self.allocated = (self.medium.len() as u64).next_multiple_of(BLOCK);
    }

    /// What a failed sync has lost is read from the medium again.
    fn drop_cache(&mut self) {
        for extent in std::mem::take(&mut self.lost) {
            let end = (extent.offset + extent.bytes.len()).min(self.medium.len());
            let from_medium = Extent {
                offset: extent.offset,
                bytes: self
                    .medium
                    .get(extent.offset..end)
                    .unwrap_or_default()
                    .to_vec(),
            };
            from_medium.store(&mut self.cache);
        }
        // What was written over it since then is dirty, and stays.
        for extent in &self.unsynced {
            extent.store(&mut self.cache);
        }
    }
}

/// What a write that was not synced has done to the medium.
#[derive(Clone, Copy)]
enum Fate {
    Kept,
    Dropped,
    /// Up to a sector.
    Cut,
    /// Some sectors.
    Reordered,
    /// Sectors that are not kept hold something else.
    Garbled(Instead),
}

#[derive(Clone, Copy)]
enum Instead {
    Zeros,
    Random,
    Stale,
}

impl Fate {
    fn choose(random: &mut Random, stale: bool) -> Fate {
        match random.below(20) {
            0..6 => Fate::Kept,
            6..10 => Fate::Dropped,
            10..13 => Fate::Cut,
            13..16 => Fate::Reordered,
            16..18 => Fate::Garbled(Instead::Zeros),
            18 if stale => Fate::Garbled(Instead::Stale),
            _ => Fate::Garbled(Instead::Random),
        }
    }
}

impl Extent {
    fn suffer(&self, medium: &mut [u8], random: &mut Random, stale: Option<&[u8]>) {
        let fate = Fate::choose(random, stale.is_some());
        let sectors = self.bytes.len().div_ceil(SECTOR);
        let cut = random.below(sectors + 1);
        for (index, sector) in self.bytes.chunks(SECTOR).enumerate() {
            let mut sector = Extent {
                offset: self.offset + index * SECTOR,
                bytes: sector.to_vec(),
            };
            let kept = match fate {
                Fate::Kept => true,
                Fate::Dropped => false,
                Fate::Cut => index < cut,
                Fate::Reordered | Fate::Garbled(_) => random.one_in(2),
            };
            if !kept {
                let Fate::Garbled(instead) = fate else {
                    continue; // what was there before is there still
                };
                sector.garble(instead, random, stale.unwrap_or_default());
            }
            sector.store(medium);
        }
    }

    fn garble(&mut self, instead: Instead, random: &mut Random, stale: &[u8]) {
        for (index, byte) in self.bytes.iter_mut().enumerate() {
            *byte = match instead {
                Instead::Zeros => 0,
                Instead::Random => random.next().to_le_bytes()[0],
                Instead::Stale => stale.get(self.offset + index).copied().unwrap_or(0),
            };
        }
    }
}
