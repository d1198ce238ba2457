//! What a commit must not wait for: filling spares, letting go of old segments. One job after the other,
//! on a thread that lives as long as the writer: to start one may take longer than a commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::file_system::FileSystem;

type Job = Box<dyn FnOnce() + Send>;

/// The background work of one log.
pub(crate) struct Background {
    system: Arc<dyn FileSystem>,
    work: Arc<Work>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Told to jobs that take long.
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Work {
    queue: Mutex<Queue>,
    /// There are jobs, or no more, or the thread is to end.
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// One was taken, and is not done yet.
    busy: bool,
    ended: bool,
}

impl std::fmt::Debug for Background {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let jobs = self.work.queue.lock().jobs.len();
        f.debug_struct("Background")
            .field("jobs", &jobs)
            .finish_non_exhaustive()
    }
}

impl Background {
    pub(crate) fn new(system: &Arc<dyn FileSystem>) -> Self {
        Background {
            system: Arc::clone(system),
            work: Arc::default(),
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
        self.work.queue.lock().jobs.push_back(job);
        self.work.news.notify_all();
        if !self.has_thread() {
            // No thread to be had: better late than never.
            while self.work.one() {}
        }
    }

    /// Waits until all jobs are done.
    pub(crate) fn settle(&self) {
        let mut queue = self.work.queue.lock();
        while queue.busy || !queue.jobs.is_empty() {
            self.work.news.wait(&mut queue);
        }
    }

    /// Lets long jobs give up, and waits until all are done. The thread ends; another job begins another.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.settle();
        self.work.queue.lock().ended = true;
        self.work.news.notify_all();
        let thread = self.thread.lock().take();
        let _ = thread.map(JoinHandle::join); // it does not panic
        self.work.queue.lock().ended = false;
        self.stop.store(false, Ordering::Relaxed);
    }

    /// Whether there is a thread that takes jobs; begins one if need be.
    fn has_thread(&self) -> bool {
        let mut thread = self.thread.lock();
        if thread.is_none() {
            let work = Arc::clone(&self.work);
            let until_ended = Box::new(move || work.until_ended());
            *thread = self.system.spawn("wal-spare", until_ended);
        }
        thread.is_some()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let mut thread = self.thread.lock();
        let here = std::thread::current().id();
        let in_a_job = thread.take_if(|thread| thread.thread().id() == here);
        drop(thread);
        match in_a_job {
            None => self.stop(),
            // A job that wakes its log may be the last to hold it, and cannot wait for itself. What is
            // left to do the next writer does.
            Some(_) => {
                let mut queue = self.work.queue.lock();
                queue.jobs.clear();
                queue.ended = true;
            }
        }
    }
}

impl Work {
    fn until_ended(&self) {
        loop {
            while self.one() {}
            let mut queue = self.queue.lock();
            while queue.jobs.is_empty() {
                if queue.ended {
                    return;
                }
                self.news.wait(&mut queue);
            }
        }
    }

    /// Does one job, if there is one that nobody has taken.
    fn one(&self) -> bool {
        let job = {
            let mut queue = self.queue.lock();
            let job = queue.jobs.pop_front();
            queue.busy |= job.is_some();
            job
        };
        let Some(job) = job else {
            return false;
        };
        job();
        self.queue.lock().busy = false;
        self.news.notify_all();
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;
    use crate::os::Os;

    #[test]
    fn a_job_may_be_the_last_that_holds_it() {
        let system: Arc<dyn FileSystem> = Arc::new(Os);
        let background = Arc::new(Background::new(&system));
        let (begin, begun) = channel::<()>();
        let (end, ended) = channel::<()>();
        let held = Arc::clone(&background);
        background.submit(Box::new(move || {
            let _ = begun.recv();
            drop(held);
            drop(end);
        }));
        let (never, not_done) = channel::<()>();
        background.submit(Box::new(move || {
            let _ = never.send(());
        }));
        drop(background);
        drop(begin);
        let waited = ended.recv_timeout(Duration::from_secs(60));
        assert_eq!(waited, Err(RecvTimeoutError::Disconnected), "it hangs");
        assert!(not_done.recv().is_err(), "nothing is done afterwards");
    }
}
