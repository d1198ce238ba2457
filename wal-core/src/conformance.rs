//! Tests that every [`Storage`] must pass (feature `conformance`).
//!
//! Half of the checks call the storage as the log does, one numbered rule of
//! [`wal_core::storage`](crate::storage) after the other; half open a log on it and check the
//! guarantees G1 to G4, G6, G7 and G10 through [`Wal`](crate::Wal). To run all of them on a storage of your
//! own, say how to reach it, and let the macro make one `#[test]` of each:
//!
//! ```
//! use wal_core::conformance::Place;
//! use wal_core::sim::SimStorage;
//!
//! /// One log's place: here a simulated disk; yours is a directory, a bucket, a server.
//! struct MyPlace(SimStorage);
//!
//! impl Place for MyPlace {
//!     type Storage = SimStorage;
//!
//!     fn open(&self) -> SimStorage {
//!         self.0.clone()
//!     }
//!
//!     // Without this and the other hooks, what they are for is not tested.
//!     fn crash(&self) -> bool {
//!         self.0.crash();
//!         true
//!     }
//! }
//!
//! wal_core::conformance!(|| MyPlace(SimStorage::new(7)));
//! # fn main() {}
//! ```
//!
//! A check panics with what it found, as tests do. What cannot be seen from outside is not
//! checked: without [`Place::crash`] above all whether anything is durable.

// This is a test suite: it fails loudly, and is not part of the product.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod contract;
mod log;
pub mod model;
mod watchdog;

pub use contract::*;
pub use log::*;
pub use watchdog::Watchdog;

use crate::{SegmentId, Storage};

/// Where one log lies, and what can be done to it. Each check gets fresh ones.
///
/// The hooks are optional: a place that cannot do a thing returns `false`, and what needs it
/// is left out.
pub trait Place {
    /// What is being tested.
    type Storage: Storage;

    /// The storage at this place, as a process that has just started opens it.
    fn open(&self) -> Self::Storage;

    /// kill -9 to all who have it open: they do nothing more, what they stored is visible.
    fn kill(&self) -> bool {
        false
    }

    /// Power loss: as [`Place::kill`], and what was not synced may be gone, in part, in any
    /// order. The harder this is, the better the test.
    fn crash(&self) -> bool {
        false
    }

    /// From now on there is no room for more segments than there are (besides what
    /// [`Storage::prepare`] keeps back), or (`false`) there is again.
    fn limit(&self, full: bool) -> bool {
        let _ = full;
        false
    }

    /// Flips a bit of the byte at this offset of a segment.
    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        let _ = (segment, offset);
        false
    }

    /// The append or sync after so many more of them fails, once: what it would have stored may
    /// be visible, and is not durable. A kill or crash takes the plan back.
    fn fail(&self, operations: u64) -> bool {
        let _ = operations;
        false
    }

    /// Removes a segment behind the log's back.
    fn lose(&self, segment: SegmentId) -> bool {
        let _ = segment;
        false
    }
}

/// Calls `$list` with the name of every check.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_checks {
    ($list:path $(, $argument:tt)*) => {
        $list! {
            ($($argument)*)
            limits_are_sane_and_stay
            a_new_place_is_empty
            what_is_appended_is_read
            what_is_not_there_is_not_found
            list_names_every_segment_in_order
            a_taken_position_is_never_replaced
            an_append_that_is_synced_is_durable_and_all_before_it
            a_sync_makes_durable_what_was_accepted
            appends_in_flight_all_arrive
            a_dropped_future_cancels_nothing
            there_is_one_writer
            epochs_grow_and_identities_are_fresh
            what_was_deleted_stays_deleted
            an_announcement_binds_nobody
            full_stores_nothing_and_breaks_nothing
            a_log_comes_back_as_it_was_left
            what_was_acknowledged_survives
            a_log_rolls_releases_and_says_so
            holds_protect_from_release
            a_tail_follows_the_log
            a_second_writer_is_refused
            a_full_log_goes_on_when_space_returns
            damage_is_named
            a_view_shows_what_is_durable_and_changes_nothing
            histories_agree_with_the_model
        }
    };
}

/// Makes one `#[test]` of each check of the suite. The argument is an expression that yields a
/// fresh [`Place`](crate::conformance::Place) each time it is called: a closure, or the name of
/// a function. See [`conformance`](mod@crate::conformance).
#[macro_export]
macro_rules! conformance {
    ($factory:expr) => {
        $crate::__conformance_checks!($crate::__conformance_tests, $factory);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($factory:tt) $($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                let _watchdog = $crate::conformance::Watchdog::over(stringify!($check));
                $crate::conformance::$check(&$factory);
            }
        )*
    };
}

macro_rules! table {
    (() $($check:ident)*) => {
        /// A check of the suite: takes what yields fresh places, and panics with what is wrong.
        pub type Check<P> = fn(&dyn Fn() -> P);

        /// Every check with its name, for those who run them without the macro.
        ///
        /// ```
        /// use wal_core::{conformance, sim::SimStorage};
        /// for (name, check) in conformance::checks() {
        ///     println!("{name}");
        ///     check(&|| SimStorage::new(7));
        /// }
        /// ```
        #[must_use]
        pub fn checks<P: Place>() -> Vec<(&'static str, Check<P>)> {
            vec![$((stringify!($check), $check::<P> as Check<P>)),*]
        }
    };
}

crate::__conformance_checks!(table);

#[cfg(feature = "sim")]
impl Place for crate::sim::SimStorage {
    type Storage = crate::sim::SimStorage;

    fn open(&self) -> Self::Storage {
        self.clone()
    }

    fn kill(&self) -> bool {
        crate::sim::SimStorage::kill(self);
        true
    }

    fn crash(&self) -> bool {
        crate::sim::SimStorage::crash(self);
        true
    }

    fn limit(&self, full: bool) -> bool {
        let room = if full {
            self.segments().len()
        } else {
            usize::MAX
        };
        self.limit_segments(room);
        true
    }

    fn damage(&self, segment: SegmentId, offset: u64) -> bool {
        crate::sim::SimStorage::damage(self, segment, offset, 1)
    }

    fn fail(&self, operations: u64) -> bool {
        self.fail_after(operations);
        true
    }

    fn lose(&self, segment: SegmentId) -> bool {
        crate::sim::SimStorage::lose(self, segment);
        true
    }
}
