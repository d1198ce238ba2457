//! The state of the world: the bucket, the writers, a reader, and what an onlooker knows.

/// The most writers, epochs, and positions in an epoch; configurations use fewer.
pub(crate) const WRITERS: usize = 3;
pub(crate) const EPOCHS: u8 = 4;
pub(crate) const SLOTS: u8 = 6;
pub(crate) const KEYS: usize = (EPOCHS * SLOTS) as usize;

/// A position, `epoch * SLOTS + number`: keys are ordered as the bucket lists them.
pub(crate) type Key = u8;

pub(crate) fn key(epoch: u8, number: u8) -> Key {
    epoch * SLOTS + number
}

pub(crate) fn epoch_of(key: Key) -> u8 {
    key / SLOTS
}

pub(crate) fn number_of(key: Key) -> u8 {
    key % SLOTS
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Kind {
    Data,
    /// Data that says how far the log is released; deletes nothing.
    Note,
    Trim,
    Close,
    Seal,
}

/// What is stored at a key: its header, in fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) writer: u8,
    /// The trim point in the header.
    pub(crate) trim: Key,
    /// The trim point that a Trim asks for, or a Note announces.
    pub(crate) asks: Key,
    /// Which of its writer's records it holds.
    pub(crate) record: u8,
}

/// Why a writer or the reader asks for the trim point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Why {
    Hole,
    OwnSeal,
    ForeignSeal,
}

/// What a writer does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Phase {
    /// Not started.
    Out,
    /// GET the position.
    Walk(Key),
    /// LIST what lies beyond the position.
    Look(Key, Why),
    /// GET the header of the greatest key that was listed.
    Header { at: Key, why: Why, greatest: Key },
    /// The seal was sent: find out what is there.
    Sealing(Key),
    /// Own the epoch.
    Own(u8),
    /// Fenced, closed, refused, or beyond the bounds: never does anything again.
    Over,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Writer {
    pub(crate) phase: Phase,
    /// The greatest trim point read or written; goes into every header.
    pub(crate) trim: Key,
    /// Where the log ends in the epochs that were walked since the last jump.
    pub(crate) ends: [Option<u8>; EPOCHS as usize],
    /// Where it found the hole that it seals.
    pub(crate) hole: u8,
    /// The kind of the object before the position in the walk.
    pub(crate) before: Option<Kind>,
    /// What was ever sent. It may arrive at any time from then on, and again: a ghost, a retry.
    pub(crate) sent: [Option<Object>; KEYS],
    /// Bits of keys where something sent was created, so that "created" may have been answered.
    pub(crate) created: u32,
    /// The first number that is not confirmed, and the next to be used.
    pub(crate) first: u8,
    pub(crate) next: u8,
    pub(crate) next_record: u8,
    /// Bits of numbers that are confirmed.
    pub(crate) confirmed: u8,
    pub(crate) closing: bool,
    /// Below this it may delete.
    pub(crate) released: Key,
    /// Below this it may ask for a trim, where that takes a note.
    pub(crate) noted: Key,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Reading {
    At(Key),
    Look(Key, Why),
    Header { at: Key, why: Why, greatest: Key },
    Off,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct State {
    pub(crate) store: [Option<Object>; KEYS],
    pub(crate) writers: [Writer; WRITERS],
    pub(crate) reading: Reading,
    /// Where the reader left epochs behind.
    pub(crate) read_ends: [Option<u8>; EPOCHS as usize],
    /// How many trims may still be asked for.
    pub(crate) trims_left: u8,
    /// How many seals may still be put ahead of a hole.
    pub(crate) roadblocks_left: u8,

    // What an onlooker knows, and nobody in the protocol uses.
    /// Bits of keys that ever held something; a seal created there is void.
    pub(crate) ever: u32,
    /// Bits of keys whose objects were acknowledged.
    pub(crate) acked: u32,
    pub(crate) asked_trim: Key,
    pub(crate) acked_trim: Key,
    /// What acknowledged notes released.
    pub(crate) noted: Key,
    /// Where an epoch was sealed for good.
    pub(crate) sealed: [Option<u8>; EPOCHS as usize],
    pub(crate) owners: [Option<u8>; EPOCHS as usize + 1],
}

impl std::hash::Hash for Object {
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write_u8(self.asks);
        hasher.write_u32(u32::from_le_bytes([
            self.kind as u8,
            self.writer,
            self.trim,
            self.record,
        ]));
    }
}

impl Object {
    pub(crate) fn is_seal(&self) -> bool {
        self.kind == Kind::Seal
    }
}

impl Writer {
    fn new() -> Writer {
        Writer {
            phase: Phase::Out,
            trim: 0,
            ends: [None; EPOCHS as usize],
            hole: 0,
            before: None,
            sent: [None; KEYS],
            created: 0,
            first: 0,
            next: 0,
            next_record: 0,
            confirmed: 0,
            closing: false,
            released: 0,
            noted: 0,
        }
    }
}

impl Writer {
    /// It never does anything again: only what it sent and where it saw ends still counts.
    pub(crate) fn end(&mut self) {
        let (sent, ends, closing) = (self.sent, self.ends, self.closing);
        *self = Writer {
            phase: Phase::Over,
            sent,
            ends,
            closing,
            ..Writer::new()
        };
    }
}

impl State {
    pub(crate) fn new(trims: u8, reader: bool) -> State {
        State {
            store: [None; KEYS],
            writers: std::array::from_fn(|_| Writer::new()),
            reading: if reader { Reading::At(0) } else { Reading::Off },
            read_ends: [None; EPOCHS as usize],
            trims_left: trims,
            roadblocks_left: 0,
            ever: 0,
            acked: 0,
            asked_trim: 0,
            acked_trim: 0,
            noted: 0,
            sealed: [None; EPOCHS as usize],
            owners: [None; EPOCHS as usize + 1],
        }
    }

    pub(crate) fn at(&self, key: Key) -> Option<Object> {
        self.store[key as usize]
    }

    pub(crate) fn is_acked(&self, key: Key) -> bool {
        self.acked & bit(key) != 0
    }

    /// The greatest key beyond `key` that a LIST shows and that is not a seal. (Going down over
    /// seals needs no steps of its own: they never change and are never deleted.)
    pub(crate) fn greatest_data_after(&self, key: Key) -> Option<Key> {
        let is_data = |k: &Key| self.at(*k).is_some_and(|object| !object.is_seal());
        (key + 1..KEYS as Key).rev().find(is_data)
    }

    /// The greatest key beyond `key` that a LIST shows.
    pub(crate) fn greatest_after(&self, key: Key) -> Option<Key> {
        (key + 1..KEYS as Key).rev().find(|k| self.at(*k).is_some())
    }
}

pub(crate) fn bit(key: Key) -> u32 {
    1 << key
}
