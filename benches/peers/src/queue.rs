//! Group commit at its cheapest: whoever opens a group writes and syncs it for all who joined.
//!
//! Used by the floor, and put in front of a peer that has only a single writer. While a group
//! is being written the next one fills. Waiters of a group sleep on one futex word and are woken
//! by one system call; no thread hops, no allocation.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use anyhow::{Result, bail};
use parking_lot::Mutex;
use rustix::thread::futex;

use crate::aligned::Aligned;

/// The records of one group, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Their bytes.
    pub(crate) bytes: Aligned,
    /// The length of each.
    pub(crate) lengths: Vec<usize>,
}

/// Writes a group and makes it durable.
pub(crate) trait Sink: Send {
    /// Returns when the group is durable.
    fn write(&mut self, group: &mut Group) -> Result<()>;
}

/// Hands groups to a sink, one at a time.
#[derive(Debug)]
pub(crate) struct Queue<S> {
    open: Mutex<(u32, Group)>,
    sink: Mutex<(S, Group)>,
    /// The newest group that is done, plus one; even and odd groups apart, so that a wake does
    /// not disturb those who wait for the next group.
    done: [AtomicU32; 2],
    failed: AtomicBool,
    groups: AtomicU64,
}

impl<S: Sink> Queue<S> {
    /// A queue in front of `sink`.
    pub(crate) fn new(sink: S) -> Self {
        Queue {
            open: Mutex::default(),
            sink: Mutex::new((sink, Group::default())),
            done: Default::default(),
            failed: AtomicBool::new(false),
            groups: AtomicU64::new(0),
        }
    }

    /// Groups written so far.
    pub(crate) fn groups(&self) -> u64 {
        self.groups.load(Ordering::Relaxed)
    }

    /// Direct access to the sink.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut S) -> T) -> T {
        f(&mut self.sink.lock().0)
    }

    /// Gives the sink back.
    pub(crate) fn into_inner(self) -> S {
        self.sink.into_inner().0
    }

    /// Returns when the record is durable.
    pub(crate) fn submit(&self, record: &[u8]) -> Result<()> {
        let (number, leads) = {
            let mut open = self.open.lock();
            let leads = open.1.lengths.is_empty();
            open.1.bytes.push(record);
            open.1.lengths.push(record.len());
            (open.0, leads)
        };
        let word = &self.done[(number % 2) as usize];
        if leads {
            self.lead(number, word);
        } else {
            loop {
                let done = word.load(Ordering::Acquire);
                if done > number {
                    break;
                }
                // Wakes at once if the word has changed since; interrupted waits look again.
                let _ = futex::wait(word, futex::Flags::PRIVATE, done, None);
            }
        }
        if self.failed.load(Ordering::Acquire) {
            bail!("the leader of a group failed to write it");
        }
        Ok(())
    }

    fn lead(&self, number: u32, word: &AtomicU32) {
        let mut sink = self.sink.lock(); // until the group before is done
        let mut group = {
            let mut open = self.open.lock();
            open.0 = number + 1;
            let empty = std::mem::take(&mut sink.1);
            std::mem::replace(&mut open.1, empty)
        };
        if sink.0.write(&mut group).is_err() {
            self.failed.store(true, Ordering::Release);
        }
        let waiters = group.lengths.len() > 1;
        group.bytes.clear();
        group.lengths.clear();
        sink.1 = group;
        word.store(number + 1, Ordering::Release);
        self.groups.fetch_add(1, Ordering::Relaxed);
        drop(sink); // the next leader begins while this one wakes its followers
        if waiters {
            let _ = futex::wake(word, futex::Flags::PRIVATE, i32::MAX as u32);
        }
    }
}
