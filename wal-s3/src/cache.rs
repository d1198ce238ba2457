//! What was read or appended last, and what is on its way: each object is asked for once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use wal_core::StorageError;

use crate::key::Place;
use crate::object::Object;

/// An object, or that there is none, as soon as it is known.
pub(crate) type Fetched = Shared<BoxFuture<'static, Result<Option<Arc<Object>>, StorageError>>>;

pub(crate) struct Cache {
    entries: HashMap<Place, (Fetched, u64)>,
    /// Oldest first; may name what is no longer there.
    order: VecDeque<Place>,
    bytes: u64,
    limit: u64,
    /// The size that an object on its way is counted with.
    usual: u64,
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
            order: VecDeque::new(),
            bytes: 0,
            limit,
            usual: 64 << 10,
        }
    }

    pub(crate) fn get(&self, place: Place) -> Option<Fetched> {
        self.entries.get(&place).map(|(fetched, _)| fetched.clone())
    }

    /// The object, if it is here and complete.
    pub(crate) fn peek(&self, place: Place) -> Option<Arc<Object>> {
        let (fetched, _) = self.entries.get(&place)?;
        fetched.peek()?.as_ref().ok()?.clone()
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
            self.bytes = self.bytes - entry.1 + bytes;
            *entry = (ready(Arc::clone(object)), bytes);
        }
        self.evict();
    }

    /// What is not there, or could not be read, is asked for again.
    pub(crate) fn remove(&mut self, place: Place) {
        if let Some((_, bytes)) = self.entries.remove(&place) {
            self.bytes -= bytes;
        }
    }

    fn insert(&mut self, place: Place, fetched: Fetched, bytes: u64) {
        self.remove(place);
        self.entries.insert(place, (fetched, bytes));
        self.order.push_back(place);
        self.bytes += bytes;
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.limit || self.order.len() > 2 * self.entries.len() + 64 {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            // A name that was inserted again stands in the queue twice, and goes a little early.
            self.remove(oldest);
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
        assert!(cache.order.len() < 100, "the queue is bounded, too");
    }
}
