//! Breadth first over all states, so that the first violation has the shortest way there.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use crate::state::{Key, State, epoch_of, number_of};

/// What a step leads to: a state, or what is wrong.
pub(crate) type Next = Result<State, &'static str>;

/// A step: what happens, to which writer (none for the reader), at which key.
#[derive(Clone, Copy)]
pub(crate) struct Name(
    pub(crate) &'static str,
    pub(crate) Option<u8>,
    pub(crate) Key,
);

/// All steps possible in a state.
pub(crate) type Steps = Vec<(Name, Next)>;

pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) violation: Option<Violation>,
}

pub(crate) struct Violation {
    pub(crate) what: &'static str,
    pub(crate) steps: Vec<Name>,
}

/// Explores everything that `steps` reaches, up to `most` states.
pub(crate) fn explore(first: State, most: usize, steps: impl Fn(&State, &mut Steps)) -> Explored {
    let mut seen: HashSet<u64, BuildHasherDefault<Identity>> = HashSet::default();
    seen.insert(hash(&first));
    // Where each state came from: its predecessor, and which of its steps.
    let mut came: Vec<(u32, u16)> = vec![(0, 0)];
    let mut layer = vec![(0u32, first.clone())];
    let mut out = Steps::new();
    while !layer.is_empty() {
        let mut following = Vec::new();
        for (number, state) in &layer {
            out.clear();
            steps(state, &mut out);
            for (nth, (name, next)) in out.drain(..).enumerate() {
                match next {
                    Err(what) => {
                        let mut way = retrace(&first, &came, *number, &steps);
                        way.push(name);
                        let violation = Some(Violation { what, steps: way });
                        return Explored {
                            states: seen.len(),
                            violation,
                        };
                    }
                    Ok(next) if seen.insert(hash(&next)) => {
                        came.push((*number, nth as u16));
                        following.push((came.len() as u32 - 1, next));
                    }
                    Ok(_) => {}
                }
            }
        }
        assert!(
            seen.len() < most,
            "more than {most} states: the bounds are too wide"
        );
        layer = following;
    }
    Explored {
        states: seen.len(),
        violation: None,
    }
}

/// The names of the steps to a state, by taking them again.
fn retrace(
    first: &State,
    came: &[(u32, u16)],
    mut number: u32,
    steps: impl Fn(&State, &mut Steps),
) -> Vec<Name> {
    let mut choices = Vec::new();
    while number != 0 {
        let (from, nth) = came[number as usize];
        choices.push(nth);
        number = from;
    }
    let (mut state, mut names) = (first.clone(), Vec::new());
    for nth in choices.into_iter().rev() {
        let mut out = Steps::new();
        steps(&state, &mut out);
        let (name, next) = out.swap_remove(nth as usize);
        names.push(name);
        if let Ok(next) = next {
            state = next;
        }
    }
    names
}

fn hash(state: &State) -> u64 {
    let mut hasher = Mixer(0);
    state.hash(&mut hasher);
    hasher.finish()
}

/// A fast hash of 64 bits: among ten million states a collision has a chance of one in 10^5.
struct Mixer(u64);

impl Mixer {
    fn mix(&mut self, word: u64) {
        // Each half is a bijection: what once differs is not mixed up again.
        let mixed = (self.0 ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.0 = (mixed ^ (mixed >> 32)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(byte.into());
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(word.into());
    }

    fn write_isize(&mut self, discriminant: isize) {
        self.mix(discriminant as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Name(what, who, key) = self;
        match who {
            Some(writer) => write!(f, "{}", char::from(b'A' + writer))?,
            None => write!(f, "reader")?,
        }
        write!(f, ": {what} ({}, {})", epoch_of(*key), number_of(*key))
    }
}
