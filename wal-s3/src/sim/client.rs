//! One process that uses the bucket: what becomes of it, and what happens to its requests.

use std::future::pending;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use super::faults::{Fate, Faults, Kind};
use super::latency::{Alarm, Latency, Profile};
use super::random::Random;

/// What has become of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Runs,
    Paused,
    Cut,
    Killed,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    state: watch::Sender<State>,
    faults: Mutex<Faults>,
    random: Mutex<Random>,
    alarm: Alarm,
}

/// The network of the client is gone.
#[derive(Debug)]
pub(super) struct Cut;

/// When a request takes effect and when its answer comes; None: without delay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) fate: Fate,
    pub(super) effect: Option<Instant>,
    pub(super) answer: Option<Instant>,
    /// When the change of a ghost takes effect, and after how many more requests.
    pub(super) ghost: (Instant, u64),
}

impl Client {
    pub(super) fn new(name: &str, random: Random) -> Client {
        Client {
            name: name.to_owned(),
            state: watch::Sender::new(State::Runs),
            faults: Mutex::default(),
            random: Mutex::new(random),
            alarm: Alarm::new(),
        }
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        *self.faults.lock() = faults;
    }

    pub(super) fn faults(&self) -> Faults {
        *self.faults.lock()
    }

    pub(super) fn coin(&self) -> bool {
        self.random.lock().coin()
    }

    pub(super) fn is_paused(&self) -> bool {
        *self.state.borrow() == State::Paused
    }

    pub(super) fn is_killed(&self) -> bool {
        *self.state.borrow() == State::Killed
    }

    /// What has been killed stays so.
    pub(super) fn become_(&self, state: State) {
        self.state.send_if_modified(|now| {
            let changes = *now != State::Killed && *now != state;
            if changes {
                *now = state;
            }
            changes
        });
    }

    /// Decides what happens to a request: `up` bytes are sent before it takes effect.
    pub(super) fn plan(&self, kind: Kind, profile: &Profile, up: u64) -> Plan {
        let latency = match kind {
            Kind::Create | Kind::Overwrite => profile.put,
            Kind::Read => profile.get,
            Kind::List => profile.list,
            Kind::Delete => profile.delete,
        };
        let faults = self.faults();
        let mut random = self.random.lock();
        let fate = faults.draw(kind, &mut random);
        let whole = latency.draw(&mut random);
        // Where within its latency a request takes effect differs from one to the next.
        let first = whole.mul_f64(0.3 + 0.4 * random.unit());
        let ghost = Self::ghost(latency, &mut random);
        drop(random);

        let now = Instant::now();
        let sent = profile.transfer(up);
        let at = |after: Duration| {
            (!after.is_zero())
                .then_some(now)
                .and_then(|t| t.checked_add(after))
        };
        Plan {
            fate,
            effect: at(first.saturating_add(sent)),
            answer: at(whole.saturating_add(sent)),
            ghost: (now + first + ghost.0, ghost.1),
        }
    }

    /// How much later the change of a ghost takes effect: time, and number of requests.
    fn ghost(latency: Latency, random: &mut Random) -> (Duration, u64) {
        if latency.median.is_zero() {
            let time = Duration::from_millis(50).mul_f64(random.unit());
            (time, 1 + random.next() % 8)
        } else {
            (latency.draw(random), u64::MAX)
        }
    }

    /// Waits until `deadline`, while the process runs; for ever if it was killed.
    pub(super) async fn wait(&self, deadline: Option<Instant>) -> Result<(), Cut> {
        if deadline.is_none() && *self.state.borrow() == State::Runs {
            return Ok(());
        }
        let mut changes = self.state.subscribe();
        let mut over = deadline.is_none();
        loop {
            let state = *changes.borrow_and_update();
            match state {
                State::Killed => pending().await,
                State::Cut => return Err(Cut),
                State::Runs if over => return Ok(()),
                State::Runs | State::Paused => {}
            }
            let sleep = async {
                match deadline {
                    Some(deadline) if !over => self.alarm.sleep_until(deadline).await,
                    _ => pending().await,
                }
            };
            // `changed` fails only without a sender, and `self` is one.
            tokio::select! {
                () = sleep => over = true,
                _ = changes.changed() => {}
            }
        }
    }
}
