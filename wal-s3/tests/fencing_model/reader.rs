//! Another process reads the log while writers come and go.

use crate::explore::{Name, Next, Steps};
use crate::state::*;
use crate::taker::violates;
use crate::world::{Config, Variant};

impl Config {
    pub(crate) fn reader_steps(&self, state: &State, out: &mut Steps) {
        let name = |what, at| Name(what, None, at);
        match state.reading {
            Reading::At(at) => out.push((name("gets", at), self.read(state, at))),
            Reading::Look(at, why) => {
                let next = match self.looked_at(state, at) {
                    Some(greatest) => read_on(state, Reading::Header { at, why, greatest }),
                    None => self.read_believes(state, at, why),
                };
                out.push((name("lists after", at), next));
            }
            Reading::Header { at, why, greatest } => {
                let next = match state.at(greatest) {
                    None => read_on(state, Reading::Look(at, why)),
                    Some(object) if object.trim > at => self.released(state, object.trim),
                    Some(_) => self.read_believes(state, at, why),
                };
                out.push((name("gets the header of", greatest), next));
            }
            Reading::Off => {}
        }
    }

    fn read(&self, state: &State, at: Key) -> Next {
        match state.at(at) {
            None => read_on(state, Reading::Look(at, Why::Hole)),
            Some(object) if object.is_seal() => match self.is(Variant::ReaderWithoutSecondLook) {
                true => self.read_believes(state, at, Why::ForeignSeal),
                false => read_on(state, Reading::Look(at, Why::ForeignSeal)),
            },
            Some(_) => {
                let sealed = state.sealed[epoch_of(at) as usize];
                let stale = sealed.is_some_and(|end| end < number_of(at));
                let next = State {
                    reading: Reading::At(at + 1),
                    ..state.clone()
                };
                violates(stale, "a reader sees what lies behind a seal", next)
            }
        }
    }

    /// "Released": the reader begins again at the trim point.
    fn released(&self, state: &State, trim: Key) -> Next {
        let mut next = state.clone();
        next.reading = Reading::At(trim);
        next.read_ends = Default::default();
        let skips = trim > self.excused(state);
        violates(
            skips,
            "a reader is told that was released which is not",
            next,
        )
    }

    /// A hole is the end, for now; behind a seal the next epoch begins.
    fn read_believes(&self, state: &State, at: Key, why: Why) -> Next {
        if why == Why::Hole {
            return read_on(state, Reading::At(at));
        }
        let mut next = state.clone();
        let epoch = epoch_of(at) + 1;
        next.read_ends[epoch as usize - 1] = Some(number_of(at));
        let within = epoch < self.epochs;
        next.reading = if within {
            Reading::At(key(epoch, 0))
        } else {
            Reading::Off
        };
        let skips = self.cuts_off(&next, &next.read_ends);
        violates(skips, "a reader skips what was acknowledged", next)
    }
}

fn read_on(state: &State, reading: Reading) -> Next {
    Ok(State {
        reading,
        ..state.clone()
    })
}
