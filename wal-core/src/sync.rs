//! What threads share, in one place: the models (`tests/models.rs`) put a scheduler in its
//! place that tries the orders in which things can happen.

pub(crate) use real::*;

#[cfg(not(wal_shuttle))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub(crate) use std::thread::{Builder, JoinHandle, Thread, current, park, park_timeout};

    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard};

    /// A word to sleep on: one system call wakes all sleepers.
    #[derive(Debug, Default)]
    pub(crate) struct Word(AtomicU32);

    impl Word {
        pub(crate) fn get(&self) -> u32 {
            self.0.load(Ordering::SeqCst)
        }

        pub(crate) fn change(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        /// Sleeps while the word is `seen`; may return earlier.
        pub(crate) fn sleep(&self, seen: u32) {
            atomic_wait::wait(&self.0, seen);
        }

        pub(crate) fn wake_all(&self) {
            atomic_wait::wake_all(&self.0);
        }
    }
}

/// The same, on the scheduler of the models.
#[cfg(wal_shuttle)]
mod real {
    use std::fmt;
    use std::ops::{Deref, DerefMut};
    use std::time::{Duration, Instant};

    pub(crate) use shuttle::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub(crate) use shuttle::thread::{Builder, JoinHandle, Thread, current, park, park_timeout};

    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    pub(crate) struct MutexGuard<'a, T> {
        mutex: &'a shuttle::sync::Mutex<T>,
        held: Option<shuttle::sync::MutexGuard<'a, T>>,
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            let mut guard = MutexGuard {
                mutex: &self.0,
                held: None,
            };
            guard.lock();
            guard
        }
    }

    impl<T> MutexGuard<'_, T> {
        fn lock(&mut self) {
            let held = self.mutex.lock();
            self.held = Some(held.unwrap_or_else(|poisoned| poisoned.into_inner()));
        }
    }

    impl<T> fmt::Debug for Mutex<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Mutex")
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        #[allow(clippy::unwrap_used)] // models only: empty only while a condition is awaited
        fn deref(&self) -> &T {
            self.held.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        #[allow(clippy::unwrap_used)] // as above
        fn deref_mut(&mut self) -> &mut T {
            self.held.as_mut().unwrap()
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Condvar(shuttle::sync::Condvar);

    const MINUTE: Duration = Duration::from_secs(60);

    pub(crate) struct TimedOut(bool);

    impl TimedOut {
        pub(crate) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar::default()
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            if let Some(held) = guard.held.take() {
                let held = self.0.wait(held);
                guard.held = Some(held.unwrap_or_else(|poisoned| poisoned.into_inner()));
            }
        }

        /// There is no clock in a model: a short while is over as soon as others have had their
        /// turn, and a minute never is.
        pub(crate) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            deadline: Instant,
        ) -> TimedOut {
            let short = deadline.saturating_duration_since(Instant::now()) < MINUTE;
            match short {
                true => {
                    guard.held = None;
                    shuttle::thread::yield_now();
                    guard.lock();
                }
                false => self.wait(guard),
            }
            TimedOut(short)
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    /// As the kernel does it: comparing and falling asleep is one step.
    #[derive(Debug, Default)]
    pub(crate) struct Word {
        value: AtomicU32,
        queue: Mutex<()>,
        woken: Condvar,
    }

    impl Word {
        pub(crate) fn get(&self) -> u32 {
            self.value.load(Ordering::SeqCst)
        }

        pub(crate) fn change(&self) {
            self.value.fetch_add(1, Ordering::SeqCst);
        }

        pub(crate) fn sleep(&self, seen: u32) {
            let mut queue = self.queue.lock();
            if self.get() == seen {
                self.woken.wait(&mut queue);
            }
        }

        pub(crate) fn wake_all(&self) {
            let _queue = self.queue.lock();
            self.woken.notify_all();
        }
    }
}
