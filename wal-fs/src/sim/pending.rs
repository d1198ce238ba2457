//! Changes of names and lengths that the medium has not yet learned of, and which of them a sync
//! makes durable.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Metadata;
use super::disk::{Disk, InodeId, resize};

/// A change of metadata that is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) inode: InodeId,
    pub(super) what: What,
    /// Whether syncing the file's data waits for it: it does not wait for renames.
    pub(super) data: bool,
    /// A sync of the directory failed: later ones succeed, and do not store it.
    pub(super) stuck: bool,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// What these names stand for from now on.
    Names(Vec<(PathBuf, Option<InodeId>)>),
    Length(usize),
}

impl What {
    /// Whether both say what the same names stand for.
    fn same_names(&self, other: &What) -> bool {
        match (self, other) {
            (What::Names(mine), What::Names(theirs)) => mine
                .iter()
                .map(|(path, _)| path)
                .eq(theirs.iter().map(|(path, _)| path)),
            _ => false,
        }
    }

    pub(super) fn is_new_name(&self) -> bool {
        matches!(self, What::Names(names) if names.iter().all(|(_, to)| to.is_some()))
    }
}

impl Disk {
    /// Changes names, for every process at once; the medium learns of it later.
    pub(super) fn rename_all(
        &mut self,
        inode: InodeId,
        names: Vec<(PathBuf, Option<InodeId>)>,
        data: bool,
    ) {
        for (path, to) in &names {
            match to {
                Some(id) => self.names.insert(path.clone(), *id),
                None => self.names.remove(path),
            };
        }
        if self.metadata == Metadata::Journalled {
            self.change(inode, What::Names(names), data);
        } else {
            for name in names {
                self.change(inode, What::Names(vec![name]), data);
            }
        }
        self.collect();
    }

    pub(super) fn change(&mut self, inode: InodeId, what: What, data: bool) {
        self.pending.push(Change {
            inode,
            what,
            data,
            stuck: false,
        });
    }

    /// Makes one file's data in this range and its length durable, and what the file system takes
    /// along.
    pub(super) fn sync_file(&mut self, id: InodeId, range: &Range<usize>) -> io::Result<()> {
        match self.metadata {
            Metadata::Journalled => self.commit_through(|change| change.inode == id && change.data),
            Metadata::Strict => {
                let of_file =
                    |change: &Change| change.inode == id && matches!(change.what, What::Length(_));
                self.commit(of_file);
            }
        }
        let inode = self.inode(id)?;
        for extent in inode.take_unsynced(range) {
            extent.store(&mut inode.medium);
        }
        Ok(())
    }

    /// Makes the names in a directory durable, and what the file system takes along.
    pub(super) fn sync_names(&mut self, directory: &Path) {
        let directory = directory.to_owned();
        let in_it = move |change: &Change| match &change.what {
            What::Names(names) => names
                .iter()
                .any(|(path, _)| path.parent() == Some(&directory)),
            What::Length(_) => false,
        };
        match self.metadata {
            Metadata::Journalled => self.commit_through(in_it),
            Metadata::Strict => self.commit(in_it),
        }
    }

    /// The journal up to the last change that is picked.
    fn commit_through(&mut self, picked: impl Fn(&Change) -> bool) {
        let last = self.pending.iter().rposition(picked);
        let after = last.map_or(0, |last| last + 1);
        for change in self.pending.drain(..after).collect::<Vec<_>>() {
            self.apply(&change.what, change.inode);
        }
    }

    /// Just the changes that are picked.
    fn commit(&mut self, picked: impl Fn(&Change) -> bool) {
        let pending = std::mem::take(&mut self.pending);
        let (done, left) = pending
            .into_iter()
            .partition::<Vec<_>, _>(|change| picked(change) && !change.stuck);
        self.pending = left;
        // What a name stood for earlier cannot come back once something newer is stored for it.
        let newer = |change: &Change| done.iter().any(|done| done.what.same_names(&change.what));
        self.pending
            .retain(|change| !change.stuck || !newer(change));
        for change in done {
            self.apply(&change.what, change.inode);
        }
    }

    /// The medium learns of a change.
    pub(super) fn apply(&mut self, what: &What, inode: InodeId) {
        match what {
            What::Names(names) => {
                for (path, to) in names {
                    match to {
                        Some(id) => self.durable.insert(path.clone(), *id),
                        None => self.durable.remove(path),
                    };
                }
            }
            What::Length(length) => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    resize(&mut inode.medium, *length);
                }
            }
        }
    }
}
