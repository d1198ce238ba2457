//! What goes wrong, and how often.

use super::random::Random;

/// What goes wrong with the requests of a client: probabilities from 0 to 1, for each request.
///
/// At most one of them happens to a request, so their sum should not exceed 1. The default is that
/// nothing goes wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// A PUT takes effect, and the client sees an error.
    pub stored_then_error: f64,
    /// The client sees an error at once, and the PUT takes effect later (a ghost): after another
    /// latency, or without latency after a few more requests to the bucket, or 50 ms at most.
    pub error_then_stored: f64,
    /// Any request: an error, and nothing has happened.
    pub error: f64,
    /// `PutMode::Create` only: `AlreadyExists`, although nothing need be there; nothing is stored.
    /// S3 does this (409) when requests for one key meet.
    pub spurious_conflict: f64,
    /// `PutMode::Create` only: `Precondition` (412) likewise.
    pub spurious_precondition: f64,
    /// Any request: an error as from a 503, "slow down"; nothing has happened.
    pub unavailable: f64,
    /// A LIST misses what was created a moment ago: of the eight newest objects those younger than
    /// a second.
    pub stale_list: f64,
    /// Any request: no answer ever comes. A PUT or DELETE takes effect or does not.
    pub never: f64,
    /// A broken store: `PutMode::Create` overwrites what is there.
    pub ignores_create: bool,
    /// A broken store: `PutMode::Create` looks when the request comes, and stores when it takes
    /// effect. One after the other this goes well, side by side both succeed.
    pub races_create: bool,
    /// A listing begins at the beginning, wherever it should (azurite 3.35 does this).
    pub ignores_offset: bool,
}

/// What kind of request it is, as far as faults go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Overwrite,
    Read,
    List,
    Delete,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    StoredThenError,
    ErrorThenStored,
    Error,
    Conflict,
    Precondition,
    Unavailable,
    StaleList,
    /// No answer; whether it takes effect.
    Never(bool),
}

impl Fate {
    /// Whether the store does what was asked.
    pub(super) fn takes_effect(self) -> bool {
        match self {
            Fate::Well | Fate::StoredThenError | Fate::ErrorThenStored | Fate::StaleList => true,
            Fate::Never(effect) => effect,
            Fate::Error | Fate::Conflict | Fate::Precondition | Fate::Unavailable => false,
        }
    }
}

impl Faults {
    pub(super) fn draw(&self, kind: Kind, random: &mut Random) -> Fate {
        let create = kind == Kind::Create;
        let put = create || kind == Kind::Overwrite;
        let chances = [
            (self.stored_then_error, put, Fate::StoredThenError),
            (self.error_then_stored, put, Fate::ErrorThenStored),
            (self.error, true, Fate::Error),
            (self.spurious_conflict, create, Fate::Conflict),
            (self.spurious_precondition, create, Fate::Precondition),
            (self.unavailable, true, Fate::Unavailable),
            (self.stale_list, kind == Kind::List, Fate::StaleList),
            (self.never, true, Fate::Never(random.coin())),
        ];
        let mut left = random.unit();
        for (probability, applies, fate) in chances {
            if !applies {
                continue;
            }
            if left < probability {
                return fate;
            }
            left -= probability;
        }
        Fate::Well
    }
}
