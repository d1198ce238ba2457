//! Owning an epoch: uploads in a window, acknowledgement in order, trimming, closing.

use crate::explore::{Name, Next, Steps};
use crate::state::*;
use crate::taker::{over, violates};
use crate::world::{Config, Variant};

impl Config {
    pub(crate) fn owner_steps(&self, state: &State, writer: u8, epoch: u8, out: &mut Steps) {
        self.build_steps(state, writer, epoch, out);
        let me = &state.writers[writer as usize];
        for number in me.first..me.next {
            if me.confirmed & (1 << number) == 0 {
                self.learn(state, writer, key(epoch, number), out);
            }
        }
        for at in 0..me.released {
            self.delete(state, writer, at, out);
        }
    }

    /// Sends the next object of the sequence. (Sending it again is no step: what was sent may
    /// arrive any number of times.)
    fn build_steps(&self, state: &State, writer: u8, epoch: u8, out: &mut Steps) {
        let me = &state.writers[writer as usize];
        let at = key(epoch, me.next);
        if me.closing || me.next >= self.numbers || me.next >= me.first + self.window {
            return;
        }
        let data = self.build(state, writer, at, Kind::Data, None);
        out.push((Name("sends", Some(writer), at), Ok(data)));
        if self.polite {
            let close = self.build(state, writer, at, Kind::Close, None);
            out.push((Name("sends a close", Some(writer), at), Ok(close)));
        }
        if state.trims_left > 0 {
            let beyond = self.is(Variant::TrimBeyondConfirmed);
            let most = if beyond { at } else { key(epoch, me.first) };
            for trim in me.trim + 1..=most {
                let sensible = trim == most || state.is_acked(trim);
                if sensible && self.notes && trim > me.noted {
                    let next = self.build(state, writer, at, Kind::Note, Some(trim));
                    out.push((Name("sends a note", Some(writer), at), Ok(next)));
                }
                if sensible && (!self.notes || trim <= me.noted) {
                    let next = self.build(state, writer, at, Kind::Trim, Some(trim));
                    out.push((Name("sends a trim", Some(writer), at), Ok(next)));
                }
            }
        }
    }

    /// What becomes known of an upload: that it was created, or what a GET shows.
    fn learn(&self, state: &State, writer: u8, at: Key, out: &mut Steps) {
        let me = &state.writers[writer as usize];
        let own = me.sent[at as usize];
        let there = state.at(at);
        let recognises = !self.is(Variant::OwnWriteNotRecognised);
        if me.created & bit(at) != 0 || (there == own && recognises) {
            out.push((
                Name("confirms", Some(writer), at),
                self.confirm(state, writer, at),
            ));
        }
        let stop = || over(state, writer);
        match there {
            Some(object) if object.is_seal() => {
                let unsealed = state.sealed[epoch_of(at) as usize].is_none();
                let next = match unsealed {
                    true => Err("a false fence"),
                    false => stop(),
                };
                out.push((Name("meets a seal", Some(writer), at), next));
            }
            Some(_) if there == own && !recognises => {
                let mut next = state.clone();
                let me = &mut next.writers[writer as usize];
                me.next_record = me.sent[at as usize].map_or(0, |object| object.record);
                me.first = number_of(at) + 1;
                out.push((
                    Name("takes its own for another's", Some(writer), at),
                    Ok(next),
                ));
            }
            Some(_) if there != own => {
                let next = Err("an owner finds what is neither its own nor a seal");
                out.push((Name("gets", Some(writer), at), next));
            }
            _ => {}
        }
        if self.is(Variant::ConflictIsSuccess) {
            let name = Name("takes a conflict as success", Some(writer), at);
            out.push((name, self.confirm(state, writer, at)));
        }
        if self.is(Variant::ConflictIsFence) {
            let unsealed = state.sealed[epoch_of(at) as usize].is_none();
            let name = Name("takes a conflict for a fence", Some(writer), at);
            out.push((name, violates(unsealed, "a false fence", state.clone())));
        }
    }

    /// The object at `at` is confirmed; what is contiguous is acknowledged.
    fn confirm(&self, state: &State, writer: u8, at: Key) -> Next {
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        me.confirmed |= 1 << number_of(at);
        let mut newly = Vec::new();
        if self.is(Variant::AcknowledgeOutOfOrder) {
            newly.push(at);
        }
        while me.confirmed & (1 << me.first) != 0 && me.first < me.next {
            newly.push(key(epoch_of(at), me.first));
            me.first += 1;
        }
        for at in newly {
            if let Some(what) = self.acknowledge(&mut next, writer, at) {
                return Err(what);
            }
        }
        Ok(next)
    }

    /// Tells the caller that the object is durable; what is wrong with that.
    fn acknowledge(&self, state: &mut State, writer: u8, at: Key) -> Option<&'static str> {
        let excused = self.excused(state);
        let me = &mut state.writers[writer as usize];
        let object = me.sent[at as usize]?;
        let at_once = !self.trims_late || self.is(Variant::DeleteWhenTrimIsConfirmed);
        let released = match object.kind {
            Kind::Note => 0,
            _ if at_once => object.asks,
            _ => object.trim,
        };
        me.released = me.released.max(released);
        match object.kind {
            Kind::Trim => {
                me.trim = me.trim.max(object.asks);
                state.acked_trim = state.acked_trim.max(object.asks);
            }
            Kind::Note => {
                me.noted = me.noted.max(object.asks);
                state.noted = state.noted.max(object.asks);
            }
            Kind::Close => me.end(),
            Kind::Data | Kind::Seal => {}
        }
        state.acked |= bit(at);
        if at >= excused && state.at(at) != Some(object) {
            return Some("what was acknowledged is not there");
        }
        // An acknowledged number with a hole before it: the next walk ends at the hole.
        let sealed = state.sealed[epoch_of(at) as usize];
        if sealed.is_some_and(|end| number_of(at) >= end) {
            return Some("what was acknowledged lies behind a seal");
        }
        let earlier = key(epoch_of(at), 0)..at;
        let again = |k: Key| {
            state
                .at(k)
                .is_some_and(|o| o.writer == writer && o.record == object.record)
        };
        if earlier.into_iter().any(again) {
            return Some("a record is there twice");
        }
        if self.cuts_off(state, &state.read_ends) {
            return Some("a reader has skipped what is acknowledged");
        }
        let mut writers = state.writers[..self.writers as usize].iter();
        let lacks = writers.any(|other| self.cuts_off(state, &other.ends));
        lacks.then_some("a successor's log lacks what was acknowledged")
    }

    fn delete(&self, state: &State, writer: u8, at: Key, out: &mut Steps) {
        let Some(object) = state.at(at) else {
            return;
        };
        let seals = state.sealed[epoch_of(at) as usize] == Some(number_of(at));
        // A void seal lies where data was, and may be deleted by a late request for that.
        if object.is_seal() && seals && !self.is(Variant::DeleteSeals) {
            return;
        }
        let mut next = state.clone();
        next.store[at as usize] = None;
        out.push((Name("deletes", Some(writer), at), Ok(next)));
    }

    /// The state in which the writer has sent one object more.
    fn build(&self, state: &State, writer: u8, at: Key, kind: Kind, trim: Option<Key>) -> State {
        let mut next = state.clone();
        let me = &mut next.writers[writer as usize];
        let header = match trim {
            _ if self.trims_late || kind == Kind::Note => me.trim,
            None if self.is(Variant::HeaderOnlyConfirmedTrim) => me.released,
            asked => asked.unwrap_or(me.trim),
        };
        let (asks, record) = (trim.unwrap_or(0), me.next_record);
        let object = Object {
            kind,
            writer,
            trim: header,
            asks,
            record,
        };
        me.sent[at as usize] = Some(object);
        me.next += 1;
        me.next_record = record + 1;
        me.closing |= kind == Kind::Close;
        if kind == Kind::Note {
            if self.is(Variant::TrimBeforeItsNote) {
                me.noted = asks;
            }
        } else if let Some(trim) = trim {
            if !self.trims_late {
                me.trim = trim;
            }
            if self.is(Variant::DeleteBeforeTrimIsConfirmed) {
                me.released = trim;
            }
            next.trims_left -= 1;
            next.asked_trim = next.asked_trim.max(trim);
        }
        next
    }
}
