//! Taking over: the walk to the first hole, the seal, the second look.

use crate::explore::{Name, Next, Steps};
use crate::state::*;
use crate::world::{Config, Variant};

impl Config {
    /// What a writer may do next, each time for one request.
    pub(crate) fn writer_steps(&self, state: &State, writer: u8, out: &mut Steps) {
        let name = |what, at| Name(what, Some(writer), at);
        self.roadblocks(state, writer, out);
        match state.writers[writer as usize].phase {
            Phase::Out => self.start(state, writer, out),
            Phase::Walk(at) => out.push((name("gets", at), self.walk(state, writer, at))),
            Phase::Look(at, why) => {
                out.push((name("lists after", at), self.look(state, writer, at, why)));
                if why == Why::OwnSeal && self.roadblocks > 0 {
                    let foreign = to(state, writer, Phase::Look(at, Why::ForeignSeal));
                    out.push((name("passes its own seal", at), foreign));
                }
            }
            Phase::Header { at, why, greatest } => {
                let next = self.header(state, writer, at, why, greatest);
                out.push((name("gets the header of", greatest), next));
            }
            Phase::Sealing(at) => self.sealing(state, writer, at, out),
            Phase::Own(epoch) => self.owner_steps(state, writer, epoch, out),
            Phase::Over => {}
        }
    }

    /// A taker may put a seal anywhere ahead in the epoch that it walks. It gives nobody the role
    /// by itself.
    fn roadblocks(&self, state: &State, writer: u8, out: &mut Steps) {
        let me = &state.writers[writer as usize];
        let (Phase::Walk(at) | Phase::Look(at, _) | Phase::Header { at, .. } | Phase::Sealing(at)) =
            me.phase
        else {
            return;
        };
        if state.roadblocks_left == 0 || at == 0 {
            return;
        }
        for ahead in at + 1..=key(epoch_of(at), self.numbers) {
            if me.sent[ahead as usize].is_none() {
                let mut next = state.clone();
                next.roadblocks_left -= 1;
                next.writers[writer as usize].sent[ahead as usize] = Some(seal_by(writer, me.trim));
                out.push((Name("puts a seal ahead", Some(writer), ahead), Ok(next)));
            }
        }
    }

    /// From the beginning, or from anything that was ever confirmed. Writers start in order, since
    /// they are all alike.
    fn start(&self, state: &State, writer: u8, out: &mut Steps) {
        if writer > 0 && state.writers[writer as usize - 1].phase == Phase::Out {
            return;
        }
        for hint in (0..KEYS as Key).filter(|at| *at == 0 || state.is_acked(*at)) {
            let behind = self.is(Variant::HintBehindTheLastObject) && hint > 0;
            let at = if behind { hint + 1 } else { hint };
            out.push((
                Name("starts", Some(writer), at),
                to(state, writer, Phase::Walk(at)),
            ));
        }
    }

    fn walk(&self, state: &State, writer: u8, at: Key) -> Next {
        match state.at(at) {
            None if self.is(Variant::ListWithoutHeaders) => {
                to(state, writer, Phase::Look(at, Why::Hole))
            }
            None => self.seal(state, writer, at),
            Some(object) => self.meet(state, writer, at, object),
        }
    }

    /// Something is at the position.
    fn meet(&self, state: &State, writer: u8, at: Key, object: Object) -> Next {
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        me.trim = me.trim.max(object.trim);
        if object.kind == Kind::Trim {
            me.trim = me.trim.max(object.asks);
        }
        if !object.is_seal() {
            me.before = Some(object.kind);
            me.phase = Phase::Walk(at + 1);
            return Ok(next);
        }
        let own = object.writer == writer;
        let why = if own { Why::OwnSeal } else { Why::ForeignSeal };
        if self.is(Variant::NoSecondLook) {
            return self.believe(&next, writer, at, why);
        }
        to(&next, writer, Phase::Look(at, why))
    }

    fn look(&self, state: &State, writer: u8, at: Key, why: Why) -> Next {
        let Some(greatest) = self.looked_at(state, at) else {
            return self.believe(state, writer, at, why);
        };
        if self.is(Variant::ListWithoutHeaders) && why == Why::Hole {
            let smallest = (at + 1..=greatest).find(|k| state.at(*k).is_some());
            return self.jump(state, writer, smallest.unwrap_or(greatest));
        }
        to(state, writer, Phase::Header { at, why, greatest })
    }

    fn header(&self, state: &State, writer: u8, at: Key, why: Why, greatest: Key) -> Next {
        match state.at(greatest) {
            None => to(state, writer, Phase::Look(at, why)),
            Some(object) if object.trim > at => self.jump(state, writer, object.trim),
            Some(_) => self.believe(state, writer, at, why),
        }
    }

    /// The position was trimmed: the walk begins again at the trim point.
    fn jump(&self, state: &State, writer: u8, trim: Key) -> Next {
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        me.trim = me.trim.max(trim);
        me.ends = Default::default();
        me.before = None;
        me.phase = Phase::Walk(trim);
        let loses = (0..trim).any(|k| k >= self.excused(state) && state.is_acked(k));
        violates(
            loses || trim > state.asked_trim,
            "a writer jumps over what was not trimmed",
            next,
        )
    }

    /// The hole or the seal is not below the trim point.
    fn believe(&self, state: &State, writer: u8, at: Key, why: Why) -> Next {
        match why {
            Why::Hole => self.seal(state, writer, at),
            Why::OwnSeal => self.own(state, writer, at),
            Why::ForeignSeal => self.next_epoch(state, writer, at),
        }
    }

    fn seal(&self, state: &State, writer: u8, at: Key) -> Next {
        let me = &state.writers[writer as usize];
        let opens = at == 0 || me.before == Some(Kind::Close);
        if self.polite && writer > 0 && !opens && !self.is(Variant::OpenIgnoresClose) {
            return over(state, writer);
        }
        let empty_epoch = at > 0 && number_of(at) == 0;
        if self.is(Variant::OwnWithoutSealing) && at > 0
            || self.is(Variant::EmptyEpochNotSealed) && empty_epoch
        {
            return self.own(state, writer, at);
        }
        let mut hole = at;
        if self.is(Variant::SealBehindTheLastKnown) {
            let beyond = at..key(epoch_of(at) + 1, 0) - 1;
            let last = beyond.rev().find(|k| state.at(*k).is_some());
            hole = last.map_or(at, |last| last + 1);
        }
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        let seal = seal_by(writer, me.trim);
        me.sent[hole as usize].get_or_insert(seal);
        me.hole = number_of(at);
        me.phase = Phase::Sealing(hole);
        Ok(next)
    }

    /// The seal was sent. "Created" is an answer; with any other outcome what is there decides.
    fn sealing(&self, state: &State, writer: u8, at: Key, out: &mut Steps) {
        let me = &state.writers[writer as usize];
        if me.created & bit(at) != 0
            && let Some(seal) = me.sent[at as usize]
        {
            let name = Name("has created its seal", Some(writer), at);
            out.push((name, self.meet(state, writer, at, seal)));
        }
        if let Some(object) = state.at(at) {
            let name = Name("gets what is where it seals", Some(writer), at);
            let unread = self.is(Variant::NextNumberAfterConflict) && object.writer != writer;
            let next = match unread {
                true => to(state, writer, Phase::Walk(at + 1)),
                false => self.meet(state, writer, at, object),
            };
            out.push((name, next));
        }
    }

    fn next_epoch(&self, state: &State, writer: u8, at: Key) -> Next {
        let epoch = epoch_of(at) + 1;
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        me.ends[epoch as usize - 1] = Some(number_of(at));
        me.before = Some(Kind::Seal);
        let within = epoch < self.epochs;
        match within {
            true => me.phase = Phase::Walk(key(epoch, 0)),
            false => me.end(),
        }
        let cuts_off = self.cuts_off(&next, &next.writers[writer as usize].ends);
        violates(cuts_off, "a walk leaves out what was acknowledged", next)
    }

    fn own(&self, state: &State, writer: u8, at: Key) -> Next {
        let epoch = epoch_of(at) + 1;
        if state.owners[epoch as usize].is_some_and(|owner| owner != writer) {
            return Err("an epoch has two owners");
        }
        let mut next = state.clone();
        next.owners[epoch as usize] = Some(writer);
        let me = &mut next.writers[writer as usize];
        let hole = if self.is(Variant::SealBehindTheLastKnown) {
            me.hole
        } else {
            number_of(at)
        };
        me.ends[epoch as usize - 1] = Some(hole);
        me.released = if self.trims_late { 0 } else { me.trim };
        let within = epoch < self.epochs;
        match within {
            true => me.phase = Phase::Own(epoch),
            false => me.end(),
        }
        if self.polite && writer > 0 && at > 0 && !self.has_closed(state, epoch - 1) {
            return Err("an open takes the log from a writer that did not close it");
        }
        let cuts_off = self.cuts_off(&next, &next.writers[writer as usize].ends);
        violates(
            cuts_off,
            "a successor's log lacks what was acknowledged",
            next,
        )
    }

    fn has_closed(&self, state: &State, epoch: u8) -> bool {
        let owner = state.owners[epoch as usize];
        owner.is_some_and(|owner| state.writers[owner as usize].closing)
    }
}

fn seal_by(writer: u8, trim: Key) -> Object {
    Object {
        kind: Kind::Seal,
        writer,
        trim,
        asks: 0,
        record: 0,
    }
}

/// The same, with the writer in another phase.
pub(crate) fn to(state: &State, writer: u8, phase: Phase) -> Next {
    let mut next = state.clone();
    next.writers[writer as usize].phase = phase;
    Ok(next)
}

/// The same, without the writer.
pub(crate) fn over(state: &State, writer: u8) -> Next {
    let mut next = state.clone();
    next.writers[writer as usize].end();
    Ok(next)
}

pub(crate) fn violates(violated: bool, what: &'static str, next: State) -> Next {
    if violated { Err(what) } else { Ok(next) }
}
