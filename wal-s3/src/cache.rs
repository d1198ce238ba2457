//! What was read or appended last, and what is on its way: each object is asked for once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use wal_core::StorageError;

use crate::key::Place;
use crate::object::Object;

/// An object, or that there is none, as soon as it is known.
pub(crate) type Fetched = Shared<BoxFuture<'static, Result<Option<Arc<Object>>, StorageError>>>;

pub(crate) struct Cache {
    entries: HashMap<Place, Entry>,
    /// In the order in which they go.
    order: BTreeMap<Turn, Place>,
    next: u64,
    bytes: u64,
    limit: u64,
    /// The size that an object on its way is counted with.
    usual: u64,
}

/// When an object goes: first those that somebody who reads in order has come past, of each kind
/// the oldest.
type Turn = (Passed, u64);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Passed {
    Yes,
    No,
}

struct Entry {
    fetched: Fetched,
    bytes: u64,
    turn: Turn,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("objects", &self.entries.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Cache {
    pub(crate) fn new(limit: u64) -> Self {
        Cache {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            bytes: 0,
            limit,
            usual: 64 << 10,
        }
    }

    pub(crate) fn get(&self, place: Place) -> Option<Fetched> {
        self.entries.get(&place).map(|entry| entry.fetched.clone())
    }

    /// The object, if it is here and complete.
    pub(crate) fn peek(&self, place: Place) -> Option<Arc<Object>> {
        let entry = self.entries.get(&place)?;
        entry.fetched.peek()?.as_ref().ok()?.clone()
    }

    /// How many objects may be fetched ahead without pushing out what is read now.
    pub(crate) fn room_ahead(&self) -> u64 {
        self.limit / 8 * 7 / self.usual.max(1)
    }

    pub(crate) fn begin(&mut self, place: Place, fetched: Fetched) {
        let usual = self.usual;
        self.insert(place, fetched, usual);
    }

    /// Keeps what this process has appended.
    pub(crate) fn keep(&mut self, place: Place, object: Object) {
        let bytes = object.header.frame_bytes;
        let ready = std::future::ready(Ok(Some(Arc::new(object))))
            .boxed()
            .shared();
        ready.clone().now_or_never(); // so that `peek` sees it
        self.insert(place, ready, bytes);
    }

    /// An object has come: now its size is known.
    pub(crate) fn arrived(&mut self, place: Place, object: &Arc<Object>) {
        let bytes = object.header.frame_bytes;
        self.usual = (self.usual * 3 + bytes) / 4;
        if let Some(entry) = self.entries.get_mut(&place) {
            self.bytes = self.bytes - entry.bytes + bytes;
            (entry.fetched, entry.bytes) = (ready(Arc::clone(object)), bytes);
        }
        self.evict();
    }

    /// Who reads in order has come past an object.
    pub(crate) fn passed(&mut self, place: Place) {
        if let Some(entry) = self.entries.get_mut(&place) {
            self.order.remove(&entry.turn);
            entry.turn.0 = Passed::Yes;
            self.order.insert(entry.turn, place);
        }
    }

    /// What is not there, or could not be read, is asked for again.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some(entry) = self.entries.remove(&place) {
            self.order.remove(&entry.turn);
            self.bytes -= entry.bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
        self.bytes = 0;
    }

    fn insert(&mut self, place: Place, fetched: Fetched, bytes: u64) {
        self.remove(place);
        let turn = (Passed::No, self.next);
        self.next += 1;
        self.order.insert(turn, place);
        let entry = Entry {
            fetched,
            bytes,
            turn,
        };
        self.entries.insert(place, entry);
        self.bytes += bytes;
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.limit
            && let Some((_, next)) = self.order.first_key_value()
        {
            self.remove(*next);
        }
    }
}

fn ready(object: Arc<Object>) -> Fetched {
    let ready = std::future::ready(Ok(Some(object))).boxed().shared();
    ready.clone().now_or_never(); // so that `peek` sees it
    ready
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::header;

    fn object(bytes: u64) -> Object {
        let header = crate::object::Header {
            frame_bytes: bytes,
            ..header()
        };
        Object {
            header,
            extra: "".into(),
            frames: Vec::new(),
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_bytes() {
        let mut cache = Cache::new(100);
        for seq in 0..5 {
            cache.keep(Place::new(1, seq), object(30));
        }
        let there = |seq| cache.peek(Place::new(1, seq)).is_some();
        assert_eq!(
            (0..5).map(there).collect::<Vec<_>>(),
            [false, false, true, true, true]
        );
        for _ in 0..1000 {
            cache.keep(Place::new(1, 9), object(1));
        }
        assert_eq!(cache.order.len(), 4);
    }

    #[test]
    fn what_a_reader_has_come_past_goes_first() {
        let mut cache = Cache::new(100);
        for seq in 0..6 {
            cache.keep(Place::new(1, seq), object(30));
            cache.passed(Place::new(1, 2));
        }
        let there = |seq| cache.peek(Place::new(1, seq)).is_some();
        let left: Vec<u64> = (0..6).filter(|seq| there(*seq)).collect();
        assert_eq!(left, [3, 4, 5], "0, 1 and 2 went");
        cache.passed(Place::new(1, 5));
        cache.passed(Place::new(1, 4));
        cache.keep(Place::new(1, 6), object(30));
        let there = |seq| cache.peek(Place::new(1, seq)).is_some();
        assert!(there(3) && !there(4) && there(5), "the oldest of those");
    }
}
