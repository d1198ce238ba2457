//! What threads share, in one place: the models replace it (see `tests/models`).

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use atomic_wait::{wait, wake_all};
pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};
