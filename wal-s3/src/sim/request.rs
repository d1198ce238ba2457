//! What all requests have in common: their way through the latency, and what the client is told.

use std::future::{Future, pending};
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, Result};
use tokio::time::Instant;

use super::bucket::{Due, Effect};
use super::client::{Cut, Plan};
use super::faults::{Fate, Kind};
use super::{Requests, SimStore};

const STORE: &str = "SimStore";

impl SimStore {
    /// A request begins; gives its number.
    pub(super) async fn begin(
        &self,
        kind: Kind,
        up: u64,
        count: impl FnOnce(&mut Requests) + Send,
    ) -> Result<(Plan, u64)> {
        if self.client.is_killed() {
            return Err(killed());
        }
        if !self.client.is_paused() {
            self.wait(None).await?;
        }
        let plan = self.client.plan(kind, &self.profile, up);
        let mut bucket = self.shared.bucket.lock();
        count(&mut bucket.counters);
        Ok((plan, bucket.came()))
    }

    pub(super) fn depart(&self, plan: Plan, effect: Effect) -> Flight<'_> {
        let at = plan.effect.unwrap_or_else(Instant::now);
        let id = self.shared.bucket.lock().depart(&self.client, at, effect);
        Flight {
            store: self,
            id,
            landed: false,
        }
    }

    pub(super) fn wait(
        &self,
        until: Option<Instant>,
    ) -> impl Future<Output = Result<()>> + Send + '_ {
        let cut = |Cut| gone();
        async move { self.client.wait(until).await.map_err(cut) }
    }

    /// Sends a change and waits until it takes effect, or would have. None: it did not.
    pub(super) async fn make(
        &self,
        plan: Plan,
        came: u64,
        effect: Effect,
    ) -> Result<Option<Landing>> {
        if plan.fate.takes_effect() && plan.fate != Fate::ErrorThenStored {
            let flight = self.depart(plan, effect);
            self.wait(plan.effect).await?;
            return Ok(flight.land());
        }
        if plan.fate == Fate::ErrorThenStored {
            let (at, more) = plan.ghost;
            let due = Due {
                at,
                requests: came.saturating_add(more),
            };
            let mut bucket = self.shared.bucket.lock();
            bucket.depart_late(&self.client, due, effect);
        }
        self.wait(plan.effect).await?;
        Ok(None)
    }

    /// What the client is told, as far as that does not depend on what happened.
    pub(super) async fn answer(&self, fate: Fate, location: &Path) -> Result<()> {
        match fate {
            Fate::Well | Fate::StaleList => Ok(()),
            Fate::StoredThenError | Fate::ErrorThenStored => Err(generic("timed out")),
            Fate::Error => Err(generic("internal error")),
            Fate::Unavailable => Err(generic("503 slow down")),
            Fate::Conflict => Err(already_exists(location, "409 conflict")),
            Fate::Precondition => Err(Error::Precondition {
                path: location.to_string(),
                source: "412 precondition failed".into(),
            }),
            Fate::Never(_) => pending().await,
        }
    }
}

/// A change under way, which its request waits for. Dropped before, it may still take effect.
pub(super) struct Flight<'a> {
    store: &'a SimStore,
    id: u64,
    landed: bool,
}

/// What became of a change: whether it was made, and the version it made.
pub(super) struct Landing {
    pub(super) done: bool,
    pub(super) version: u64,
}

impl Flight<'_> {
    /// None: it was cut off.
    pub(super) fn land(mut self) -> Option<Landing> {
        self.landed = true;
        let mut bucket = self.store.shared.bucket.lock();
        let done = bucket.land(self.id)?;
        let version = bucket.version();
        Some(Landing { done, version })
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            let lost = self.store.client.coin();
            self.store.shared.bucket.lock().give_up(self.id, lost);
        }
    }
}

impl Plan {
    pub(super) fn answer_after(self, transfer: Duration) -> Option<Instant> {
        if transfer.is_zero() {
            return None;
        }
        let answer = self.answer.unwrap_or_else(Instant::now);
        answer.checked_add(transfer)
    }
}

pub(super) fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: STORE,
        source: source.into(),
    }
}

pub(super) fn gone() -> Error {
    generic("the network is gone")
}

fn killed() -> Error {
    Error::PermissionDenied {
        path: String::new(),
        source: "the process was killed".into(),
    }
}

pub(super) fn already_exists(location: &Path, why: &str) -> Error {
    Error::AlreadyExists {
        path: location.to_string(),
        source: why.into(),
    }
}

pub(super) fn not_found(location: &Path) -> Error {
    Error::NotFound {
        path: location.to_string(),
        source: "no such object".into(),
    }
}

pub(super) fn not_implemented(operation: &str) -> Error {
    Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    }
}
