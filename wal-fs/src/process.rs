//! The number of this process, without a system call for each question.
//!
//! A log asks with every append that is waited for, because a child of `fork` must not wait for
//! threads that its parent has. The answer is kept; a child forgets it at once, because the C library
//! calls what was registered with `pthread_atfork` before `fork` returns there. Whoever makes a
//! process without the C library (a bare `clone` system call) is not noticed.

#[cfg(target_os = "linux")]
pub(crate) use remembered::id;
#[cfg(not(target_os = "linux"))]
pub(crate) use std::process::id;

#[cfg(target_os = "linux")]
mod remembered {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    /// 0: not known.
    static PROCESS: AtomicU32 = AtomicU32::new(0);
    /// Somebody has begun to register; not waited for, as a child may have nobody who ends it.
    static BEGUN: AtomicBool = AtomicBool::new(false);
    /// A child will forget.
    static REGISTERED: AtomicBool = AtomicBool::new(false);

    pub(crate) fn id() -> u32 {
        match PROCESS.load(Ordering::Relaxed) {
            0 => ask(),
            known => known,
        }
    }

    #[cold]
    fn ask() -> u32 {
        if !BEGUN.swap(true, Ordering::Relaxed) {
            REGISTERED.store(register(), Ordering::Release);
        }
        let id = std::process::id();
        if REGISTERED.load(Ordering::Acquire) {
            PROCESS.store(id, Ordering::Relaxed);
        }
        id
    }

    fn register() -> bool {
        #[expect(unsafe_code, reason = "the only way to be told of a fork")]
        // SAFETY: in the child of a process with other threads `forget` may do only what a signal
        // handler may: it stores to one atomic. The C library drops it when this code is unloaded.
        let refused = unsafe { libc::pthread_atfork(None, None, Some(forget)) };
        refused == 0
    }

    #[expect(unsafe_code, reason = "the type that C wants")]
    unsafe extern "C" fn forget() {
        PROCESS.store(0, Ordering::Relaxed);
    }
}
