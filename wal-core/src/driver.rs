//! The right to do I/O, and what is done with it.
//!
//! One thread at a time drives a log: its committer thread, or a caller whose
//! commit is alone (no thread hop then). Whoever drives decides the next step
//! under the lock, performs it without the lock, and publishes the outcome.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::block::block_on;
use crate::committer::{Begun, Committer, Write};
use crate::frame::Kind;
use crate::generation::Generation;
use crate::group::Group;
use crate::planted::planted;
use crate::request::Request;
use crate::shared::{Shared, State, Taken, Wake};
use crate::storage::{IoFuture, Sync};
use crate::sync::MutexGuard;
use crate::{Error, Lsn, SegmentId, StorageError};

mod deletion;
mod outcome;
mod pace;
mod perform;
mod reunion;
mod step;
mod thread;

use deletion::Deletion;
use pace::Pace;
use reunion::Reunion;
use thread::FlightWaker;
pub(crate) use thread::committer_thread;

/// How long appends that are only to be accepted wait for company, while nobody waits for them.
const LAZY: Duration = Duration::from_millis(1);
/// How much of them is written without waiting.
pub(crate) const LAZY_BYTES: u64 = 256 << 10;

/// So much made durable by one barrier is attested at once.
const MARK_BYTES: u64 = 4 << 20;

/// How long a release waits to be noted by a frame that comes anyway, before a mark notes it.
const RELEASE_WAIT: Duration = Duration::from_millis(1);

/// How soon a mark that found no space is tried again.
const RETRY_FULL: Duration = Duration::from_secs(1);

/// What is to be done next.
enum Step {
    Write(Box<Write>),
    /// The next frame of records: to be put together without the lock.
    Records {
        group: Group,
        sync: bool,
    },
    Sync,
    /// Make sure that records may be appended.
    Prepare,
    Delete(SegmentId),
    Request(Request),
    /// Something is under way; nothing else can be done until that finishes, work comes, or
    /// this moment.
    Await(Option<Instant>),
    /// Nothing to do before this moment (`None`: before work comes).
    Idle(Option<Instant>),
}

/// A write under way.
struct Flight {
    write: Option<Started>,
    future: IoFuture<()>,
}

/// What is needed of a write once it is stored.
struct Started {
    id: u64,
    at: Instant,
    sync: Sync,
    kind: Kind,
    begins: Option<Begun>,
    segment: SegmentId,
    end_offset: u64,
    stored_bytes: u64,
}

/// A group under way.
struct UnderWay {
    number: u32,
    end: Lsn,
    /// How many appends of it are to be durable.
    durable: usize,
    /// Nobody waits for it but whoever drives.
    alone: bool,
}

/// Drives one log.
pub(crate) struct Driver {
    committer: Committer,
    flights: Vec<Flight>,
    /// Writes that are stored, while an earlier one is not.
    early: Vec<Started>,
    /// A deletion under way.
    deletion: Option<Deletion>,
    pace: Pace,
    reunion: Reunion,
    waker: Waker,
    /// When something was last written: the watermark waits from here.
    active: Option<Instant>,
    /// Bytes stored since the last frame that was synced.
    unsynced_bytes: u64,
    /// A barrier has just made much durable: the watermark does not wait.
    mark_now: bool,
    /// Where the last deletion failed; it is tried again once more can be deleted.
    undeletable: SegmentId,
    /// There was no space for a mark; not before this is one tried again.
    full_until: Option<Instant>,
    /// Whether the storage keeps room for a later recovery, so that records may be appended.
    ready: bool,
    closed: bool,
    /// Groups under way.
    groups: VecDeque<UnderWay>,
    /// The append for which is driven, if for one: where it ends, and its generation, for its LSNs
    /// may be given out again.
    own: Option<(Lsn, Arc<Generation>)>,
    /// Who is to be woken.
    due: Wake,
}

/// How a drive ended.
pub(crate) struct Driven<'a> {
    /// Still held, so that no work slips in between.
    pub(crate) state: MutexGuard<'a, State>,
    /// When something is to be done without being asked.
    pub(crate) deadline: Option<Instant>,
    /// To be woken once the lock is free.
    pub(crate) due: Wake,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver")
            .field("committer", &self.committer)
            .field("flights", &self.flights.len())
            .finish_non_exhaustive()
    }
}

impl Driver {
    pub(crate) fn new(committer: Committer, shared: &Weak<Shared>) -> Self {
        Driver {
            committer,
            flights: Vec::new(),
            early: Vec::new(),
            deletion: None,
            pace: Pace::default(),
            reunion: Reunion::default(),
            waker: Waker::from(Arc::new(FlightWaker(shared.clone()))),
            active: None,
            unsynced_bytes: 0,
            mark_now: false,
            undeletable: SegmentId::default(),
            full_until: None,
            ready: false,
            closed: false,
            groups: VecDeque::new(),
            own: None,
            due: Wake::default(),
        }
    }

    /// Drives until there is nothing to do, the log failed, or `own` is durable; then puts
    /// the driver back and returns with the lock still held, so that no work slips in between.
    /// Whoever drives for nobody in particular makes way for a caller that waits for its turn.
    pub(crate) fn run<'a>(
        mut self: Box<Self>,
        shared: &'a Shared,
        own: Option<&Taken>,
    ) -> Driven<'a> {
        if let Err(Error::Storage(forked)) = shared.check_process() {
            shared.poison(forked);
        }
        let until = own.map(|own| own.lsns.end);
        self.own = own.map(|own| (own.lsns.end, Arc::clone(&own.generation)));
        loop {
            let mut state = shared.state.lock();
            let reached = match until {
                Some(until) => shared.durable() >= until,
                None => state.heir.is_some() && !state.closing && self.flights.is_empty(),
            };
            if reached && until.is_some() && state.failure.is_none() {
                state.reunion = self.reunion.expected();
            }
            if reached || state.failure.is_some() {
                state.closed |= state.closing && state.failure.is_some();
                return self.put_back(state, None);
            }
            if !self.due.is_empty() {
                drop(state);
                shared.wake(std::mem::take(&mut self.due));
                continue;
            }
            // Writes that are done at once never wait for news; a deletion has some all the same.
            if self.deletion.is_some() && std::mem::take(&mut state.flight_woken) {
                drop(state);
                self.poll_flights(shared);
                self.poll_deletion(shared);
                continue;
            }
            match self.next_step(shared, &mut state) {
                Step::Idle(deadline) => {
                    state.closed |= self.closed;
                    return self.put_back(state, deadline);
                }
                Step::Await(until) => {
                    self.wait(shared, &mut state, until);
                    drop(state);
                    self.poll_flights(shared);
                    self.poll_deletion(shared);
                }
                Step::Write(write) => {
                    drop(state);
                    self.start(shared, *write);
                }
                Step::Records { group, sync } => {
                    drop(state);
                    let write = self.committer.records(group, sync, now_micros());
                    self.start(shared, write);
                }
                Step::Sync => {
                    state.stats.syncs += 1;
                    drop(state);
                    match block_on(shared.storage.sync()) {
                        Ok(()) => {
                            self.committer.synced();
                            self.all_synced();
                            self.publish(shared);
                        }
                        Err(_) if planted("failed-sync-tried-again") => {}
                        Err(cause) => shared.poison(cause),
                    }
                }
                Step::Request(request) => {
                    drop(state);
                    let outcome = self.perform(shared, request.work);
                    request.reply.give(outcome);
                }
                Step::Prepare => {
                    drop(state);
                    self.prepare(shared);
                }
                Step::Delete(before) => {
                    drop(state);
                    self.delete(shared, before);
                }
            }
        }
    }

    /// Those who were woken did not come in time.
    pub(crate) fn let_down(&mut self) {
        self.reunion.failed();
    }

    fn put_back(
        mut self: Box<Self>,
        mut state: MutexGuard<'_, State>,
        deadline: Option<Instant>,
    ) -> Driven<'_> {
        let due = std::mem::take(&mut self.due);
        state.driver = Some(self);
        Driven {
            state,
            deadline,
            due,
        }
    }

    /// Whether something is under way.
    fn is_busy(&self) -> bool {
        !self.flights.is_empty() || self.deletion.is_some()
    }

    /// Sleeps until something under way has news, or there is work, or `until`.
    fn wait(&self, shared: &Shared, state: &mut MutexGuard<'_, State>, until: Option<Instant>) {
        if std::mem::take(&mut state.flight_woken) {
            return;
        }
        state.awaiting = self.committer.has_room();
        state.company = self.pace.company();
        match until {
            Some(until) => {
                shared.work.wait_until(state, until);
            }
            None => shared.work.wait(state),
        }
        (state.awaiting, state.flight_woken) = (false, false);
    }

    /// All that was stored is durable. If that is much, a mark follows at once: were the process
    /// killed before one is written, the next open would have to store all of it anew.
    fn all_synced(&mut self) {
        self.mark_now |= std::mem::take(&mut self.unsynced_bytes) > MARK_BYTES;
    }

    fn start(&mut self, shared: &Shared, mut write: Write) {
        let bytes = std::mem::take(&mut write.bytes);
        if let Some(at) = write.announces {
            shared.storage.announce(at);
        }
        let begun = Instant::now();
        let mut future = shared.storage.append(write.at, bytes, write.sync);
        match future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(Err(cause @ StorageError::Full(_))) if !planted("full-is-a-failure") => {
                self.full(shared, &write, cause);
            }
            Poll::Ready(result) => self.finish(shared, Started::new(write, begun), result),
            Poll::Pending => self.flights.push(Flight {
                write: Some(Started::new(write, begun)),
                future,
            }),
        }
    }

    fn prepare(&mut self, shared: &Shared) {
        match block_on(shared.storage.prepare(shared.options.segment_bytes)) {
            Ok(()) => self.ready = true,
            Err(cause @ StorageError::Full(_)) => {
                let wake = {
                    let mut state = shared.state.lock();
                    shared.cancel(&mut state, self.committer.next(), Error::Full(cause))
                };
                shared.wake(wake);
            }
            Err(cause) => shared.poison(cause),
        }
    }
}

/// Microseconds since 1970; 0 if the clock stands before that.
pub(crate) fn now_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
