//! Bugs that are planted on purpose, to show that the tests can fail: see `docs/PLANTED.md`.
//!
//! A bug is a short expression where it would be made by mistake. Only a build with
//! `--cfg wal_planted` has them; there `WAL_PLANTED` names the one that is switched on.
//! `scripts/planted/bugs` lists them all.

/// Whether this bug is switched on: never, unless it was asked for when this was built.
#[cfg(not(wal_planted))]
#[must_use]
#[inline(always)]
pub const fn planted(_bug: &str) -> bool {
    false
}

/// Whether this bug is switched on.
#[cfg(wal_planted)]
#[must_use]
pub fn planted(bug: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("WAL_PLANTED").ok());
    chosen.as_deref() == Some(bug)
}

/// What a bug puts in the place of what is right, if it is switched on.
#[must_use]
#[inline(always)]
pub fn planted_or<T>(bug: &str, wrong: T, right: T) -> T {
    if planted(bug) { wrong } else { right }
}
