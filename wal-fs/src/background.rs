//! What a commit must not wait for: filling spares, letting go of old segments. One job after the other,
//! on a thread that lives while there are jobs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::file_system::FileSystem;

type Job = Box<dyn FnOnce() + Send>;

/// The background work of one log.
pub(crate) struct Background {
    system: Arc<dyn FileSystem>,
    queue: Arc<Mutex<Queue>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// A thread takes jobs until there are none.
    running: bool,
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let jobs = self.queue.lock().jobs.len();
        f.debug_struct("Background")
            .field("jobs", &jobs)
            .finish_non_exhaustive()
    }
}

impl Background {
    pub(crate) fn new(system: &Arc<dyn FileSystem>) -> Self {
        Background {
            system: Arc::clone(system),
            queue: Arc::default(),
            thread: Mutex::default(),
            stop: Arc::default(),
        }
    }

    /// Set when long jobs are to give up.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Has the job done some time. Never waits for one that is under way.
    pub(crate) fn submit(&self, job: Job) {
        let running = {
            let mut queue = self.queue.lock();
            queue.jobs.push_back(job);
            std::mem::replace(&mut queue.running, true)
        };
        if running {
            return;
        }
        let queue = Arc::clone(&self.queue);
        match self
            .system
            .spawn("wal-spare", Box::new(move || work(&queue)))
        {
            // The thread before has nothing to do any more: it need not be waited for.
            Ok(thread) => *self.thread.lock() = thread,
            // No thread to be had: better late than never.
            Err(_) => work(&self.queue),
        }
    }

    /// Waits until all jobs are done.
    pub(crate) fn settle(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join(); // it does not panic
        }
    }

    /// Lets long jobs give up, and waits until all are done.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.settle();
        self.stop.store(false, Ordering::Relaxed);
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(queue: &Mutex<Queue>) {
    loop {
        let job = {
            let mut queue = queue.lock();
            let job = queue.jobs.pop_front();
            queue.running = job.is_some();
            job
        };
        match job {
            Some(job) => job(),
            None => return,
        }
    }
}
