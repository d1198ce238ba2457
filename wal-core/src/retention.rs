//! What may be deleted: nothing that was not released, held, or still being read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Lsn;
use crate::attachment::Holds;
use crate::planted::planted_or;
use crate::shared::Shared;

/// Released LSN and holds of one handle.
#[derive(Debug)]
pub(crate) struct Retention {
    released: Lsn,
    /// How many holds stand at each LSN.
    holds: BTreeMap<Lsn, u64>,
    /// Holds that outlive the process.
    named: Holds,
    /// The released LSN in force: never beyond a hold, never goes back.
    floor: Lsn,
}

impl Retention {
    pub(crate) fn new(released: Lsn, named: &Holds) -> Self {
        Retention {
            released,
            holds: BTreeMap::new(),
            named: named.clone(),
            floor: released,
        }
    }

    /// The named holds.
    pub(crate) fn named(&self) -> &Holds {
        &self.named
    }

    pub(crate) fn set_named(&mut self, named: Holds) {
        self.named = named;
        self.update();
    }

    /// What the caller gave up, as far as no hold protects it.
    pub(crate) fn floor(&self) -> Lsn {
        self.floor
    }

    pub(crate) fn release(&mut self, before: Lsn) {
        self.released = self.released.max(before);
        self.update();
    }

    /// What was released beyond `to`, but held, is no longer there; other records will be.
    pub(crate) fn truncate(&mut self, to: Lsn) {
        self.released = self.released.min(to);
    }

    pub(crate) fn hold(&mut self, from: Lsn) {
        *self.holds.entry(from).or_default() += 1;
    }

    pub(crate) fn unhold(&mut self, from: Lsn) {
        if let Some(count) = self.holds.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.holds.remove(&from);
            }
        }
        self.update();
    }

    fn update(&mut self) {
        let lowest = self.holds.keys().next().copied().unwrap_or(Lsn::MAX);
        let lowest = planted_or("released-past-a-hold", Lsn::MAX, lowest);
        let lowest = self.named.values().copied().fold(lowest, Lsn::min);
        self.floor = self.floor.max(self.released.min(lowest));
    }
}

/// Keeps every record from an LSN on, until it is dropped or advanced (G10).
///
/// A hold lives as long as this process. It does not survive a restart; one with a name does:
/// [`Wal::set_hold`](crate::Wal::set_hold).
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// wal.commit(["a", "b", "c"])?;
/// let mut hold = wal.hold(Lsn::new(1))?;
/// wal.release(Lsn::new(3))?;
/// assert_eq!(wal.oldest(), Lsn::new(1)); // 1 and 2 are still protected
/// hold.advance(Lsn::new(2));
/// assert_eq!(wal.oldest(), Lsn::new(2));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    from: Lsn,
}

impl Hold {
    /// The caller has checked that `from` is not released, and holds it already.
    pub(crate) fn adopt(shared: Arc<Shared>, from: Lsn) -> Self {
        Hold { shared, from }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The first record that is kept.
    #[must_use]
    pub fn from(&self) -> Lsn {
        self.from
    }

    /// Moves the hold forward to `to`; does nothing if it is there or further already.
    pub fn advance(&mut self, to: Lsn) {
        if to > self.from {
            self.shared.move_hold(self.from, to);
            self.from = to;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.drop_hold(self.from);
    }
}
