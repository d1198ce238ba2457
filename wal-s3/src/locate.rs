//! Finding where the log ends, without a listing.
//!
//! The *hint* is a copy of the header of an object that was confirmed lately. It is on nobody's
//! way: it is written now and then, may be old, missing, or of a writer that was fenced since, and
//! what it names is verified. From there the sequence is walked, many objects at a time: they are
//! what recovery reads next anyway. A seal leads to the next epoch; the first number without an
//! object is the end.
//!
//! A hint that leads nowhere (it was never written, or what it names was trimmed) costs one
//! listing for each epoch.

use std::sync::Arc;

use futures_util::future::join_all;
use object_store::PutPayload;
use object_store::path::Path;
use tokio::time::Instant;
use wal_core::StorageError;
use wal_core::planted::planted;

use crate::cache::Fetched;
use crate::inner::Inner;
use crate::key::Place;
use crate::object::{HEADER_BYTES, Header, Kind, Object};
use crate::put::foreign;

/// So many objects are asked for at first, behind a hint: as many as there usually are.
const FIRST_BATCH: u64 = 32;
const LARGEST_BATCH: u64 = 64;
/// Of a segment with more objects only the first and the last are read at once.
const LONGEST_SEGMENT: u64 = 1024;
/// Names in a listing.
pub(crate) const PAGE: usize = 1000;
/// A log that is trimmed while its end is looked for is looked at again, so often.
const ATTEMPTS: u32 = 8;
/// A walk that is longer goes on with jumps.
const LONG_WALK: u64 = 256;

/// Where the log ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The first place without an object.
    pub(crate) hole: Place,
    /// The object before it, if any.
    pub(crate) last: Option<Header>,
    /// How often it was looked at in vain.
    pub(crate) idle: u32,
    /// When that was found out.
    pub(crate) at: Option<Instant>,
}

impl End {
    pub(crate) const EMPTY: End = End {
        hole: Place { epoch: 0, seq: 0 },
        last: None,
        idle: 0,
        at: None,
    };

    pub(crate) fn after(last: Header) -> End {
        let hole = match last.kind {
            Kind::Seal => last.place.next_epoch(),
            _ => last.place.next(),
        };
        End {
            hole,
            last: Some(last),
            idle: 0,
            at: None,
        }
    }

    /// Whether the last writer has closed the log, or there was none.
    pub(crate) fn is_closed(&self) -> bool {
        self.last.is_none_or(|last| last.kind == Kind::Close)
    }
}

/// What a place without an object is.
enum Hole {
    End,
    Trimmed,
    /// None any more.
    Filled,
}

impl Inner {
    /// Finds the end of the log, and fills the directory.
    pub(crate) async fn find_end(self: &Arc<Self>) -> Result<End, StorageError> {
        let mut hint = self.read_hint().await?;
        let hinted = hint.map(|hint| hint.place);
        for _ in 0..ATTEMPTS {
            let base = match hint.take() {
                Some(hint) => Some(hint),
                None => self.listed().await?,
            };
            let Some(base) = base else {
                return self.not_before(hinted, End::EMPTY);
            };
            if let Some(end) = self.end_behind(base).await? {
                return self.not_before(hinted, end);
            }
        }
        Err(StorageError::NotFound(format!(
            "objects of the log at {} that others name are missing, and were not trimmed",
            self.keys
        )))
    }

    /// A hint names what was confirmed: a log that ends before it has lost its end (G4).
    fn not_before(&self, hinted: Option<Place>, end: End) -> Result<End, StorageError> {
        match hinted {
            Some(hinted) if end.hole <= hinted && !planted("lost-end-not-noticed") => {
                Err(StorageError::NotFound(format!(
                    "{} was confirmed, and is missing: the log at {} has lost its end",
                    self.keys.object(hinted),
                    self.keys
                )))
            }
            _ => Ok(end),
        }
    }

    /// The end of the log that has, or had, this object; `None` if that was trimmed since.
    async fn end_behind(self: &Arc<Self>, mut base: Header) -> Result<Option<End>, StorageError> {
        loop {
            let ahead = match base.kind {
                Kind::Close => 1,
                _ => FIRST_BATCH,
            };
            let segment = self.newest_segment(&base);
            let asked: Vec<Fetched> = segment.iter().map(|place| self.fetch(*place)).collect();
            let behind = self.batch(End::after(base).hole, ahead);
            let mut last: Option<Header> = None;
            for (place, object) in segment.into_iter().zip(join_all(asked).await) {
                match object? {
                    Some(object) => {
                        let adjacent = last.filter(|last| last.place.next() == place);
                        self.check_continues(&object.header, adjacent.as_ref())?;
                        self.absorb(&object)?;
                        last = Some(object.header);
                    }
                    None if place == Place::default() => {} // there is no segment yet
                    None => return Ok(None),
                }
            }
            self.ask_for_headers(1);
            let Some(end) = self.walk(End::after(base), behind, LONG_WALK).await? else {
                return Ok(None);
            };
            *self.seen_end.lock() = end.hole;
            let walked = end.hole.seq.saturating_sub(base.place.seq);
            let far = match end.hole.epoch == base.place.epoch && walked >= LONG_WALK {
                true => self.jump(end.hole).await?,
                false => None,
            };
            match far {
                Some(far) => base = far,
                None => return Ok(Some(end)),
            }
        }
    }

    /// What recovery reads first: the newest segment up to `base`, or, if that is too much to
    /// keep, its first object and `base`.
    fn newest_segment(&self, base: &Header) -> Vec<Place> {
        let fits = base.end_offset() <= self.options.cache_bytes / 4 * 3
            && base.head.epoch == base.place.epoch
            && base.place.seq - base.head.seq.min(base.place.seq) <= LONGEST_SEGMENT;
        match fits {
            true => (base.head.seq..=base.place.seq)
                .map(|seq| Place::new(base.place.epoch, seq))
                .collect(),
            false => vec![base.head, base.place],
        }
    }

    /// Asks for the first objects of so many segments before the newest one: whoever opens the log
    /// reads one of them next, and who opens it for reading all.
    pub(crate) fn ask_for_headers(self: &Arc<Self>, most: usize) {
        let directory = self.directory.lock();
        let before = directory.iter().rev().skip(1).take(most);
        let places: Vec<Place> = before.map(|(_, entry)| entry.place).collect();
        drop(directory);
        for place in places {
            drop(self.fetch(place)); // it goes on by itself
        }
    }

    fn check_continues(&self, header: &Header, last: Option<&Header>) -> Result<(), StorageError> {
        match last.is_none_or(|last| header.continues(last)) {
            true => Ok(()),
            false => Err(foreign(
                &self.keys.object(header.place),
                "it does not continue the object before it",
            )),
        }
    }

    /// Takes up what an object says.
    fn absorb(&self, object: &Object) -> Result<(), StorageError> {
        let absorbed = self.directory.lock().absorb(&object.header, &object.extra);
        absorbed.map_err(|why| foreign(&self.keys.object(object.header.place), why))
    }

    /// Asks for so many objects from a place on.
    pub(crate) fn batch(self: &Arc<Self>, from: Place, count: u64) -> Vec<Fetched> {
        (0..count).map(|more| self.fetch(from.plus(more))).collect()
    }

    /// Goes on from `end` to the first place without an object; or stops after `most` objects.
    /// `batch` are the first that were asked for. `None` if what lies there has been trimmed since.
    pub(crate) async fn walk(
        self: &Arc<Self>,
        mut end: End,
        mut batch: Vec<Fetched>,
        most: u64,
    ) -> Result<Option<End>, StorageError> {
        let (mut walked, mut size) = (0, batch.len() as u64);
        'batches: loop {
            let mut found = join_all(batch).await.into_iter();
            walked += size;
            size = (size * 2).min(LARGEST_BATCH);
            while let Some(next) = found.next() {
                let Some(object) = next? else {
                    let behind: Vec<_> = found.flatten().flatten().collect();
                    match self.is_hole(end.hole, &behind).await? {
                        Hole::End => return Ok(Some(end)),
                        Hole::Trimmed => return Ok(None),
                        Hole::Filled => {
                            batch = self.batch(end.hole, size);
                            continue 'batches;
                        }
                    }
                };
                self.check_continues(&object.header, end.last.as_ref())?;
                self.absorb(&object)?;
                let sealed = object.header.kind == Kind::Seal;
                if sealed && self.is_void(end.hole).await? {
                    return Ok(None);
                }
                end = End::after(object.header);
                *self.seen_end.lock() = end.hole;
                if sealed && !planted("objects-behind-a-seal-count") {
                    break; // what follows a seal does not count
                }
            }
            if walked >= most {
                return Ok(Some(end));
            }
            batch = self.batch(end.hole, size);
        }
    }

    /// What to make of a place without an object, when these lie behind it.
    async fn is_hole(
        self: &Arc<Self>,
        hole: Place,
        behind: &[Arc<Object>],
    ) -> Result<Hole, StorageError> {
        if behind.iter().any(|object| object.header.trim > hole) {
            return Ok(Hole::Trimmed);
        }
        let confirmed = |object: &Arc<Object>| object.header.confirmed > hole.seq;
        if !behind.iter().any(confirmed) || planted("lost-object-taken-for-the-end") {
            return Ok(Hole::End);
        }
        if self.fetch(hole).await?.is_some() {
            return Ok(Hole::Filled); // it came while the others were read
        }
        Err(StorageError::NotFound(format!(
            "{} was confirmed, and is missing: the log at {} is damaged",
            self.keys.object(hole),
            self.keys
        )))
    }

    /// A later object of the same epoch that is confirmed, if the walk from `from` would be
    /// long. What exists far ahead proves by its header how far the epoch is without holes.
    async fn jump(self: &Arc<Self>, from: Place) -> Result<Option<Header>, StorageError> {
        let distances = (0..20).map(|power| LONG_WALK << power);
        let probes = distances.map(|distance| self.look(from.plus(distance)));
        let mut far = None;
        for found in join_all(probes).await {
            match found? {
                Some(header) => far = Some(header),
                None => break,
            }
        }
        let Some(last) = far.and_then(|far| far.confirmed.checked_sub(1)) else {
            return Ok(None);
        };
        if last < from.seq {
            return Ok(None);
        }
        self.look(Place::new(from.epoch, last)).await
    }

    /// An object near the end, found by listing; `None` if the log is empty.
    async fn listed(self: &Arc<Self>) -> Result<Option<Header>, StorageError> {
        let log = self.keys.log();
        let mut epochs = Vec::new();
        let mut after = log.clone();
        while let Some(first) = self.client.list(&log, &after, 1).await?.first() {
            let first = self.place_of(&first.location)?;
            after = self.keys.object(Place::new(first.epoch, u64::MAX));
            epochs.push(first.epoch);
        }
        for epoch in epochs.into_iter().rev() {
            let start = self.keys.object(Place::new(epoch, 0));
            let page = self.client.list(&log, &start, PAGE).await?;
            // The last one there may stand behind a hole, but knows what is confirmed for certain.
            let last = page.last().map(|meta| self.place_of(&meta.location));
            let last = last.transpose()?.filter(|last| last.epoch == epoch);
            let confirmed = match last {
                Some(last) => self.look(last).await?.map_or(0, |header| header.confirmed),
                None => 0,
            };
            let base = Place::new(epoch, confirmed.saturating_sub(1));
            if let Some(header) = self.look(base).await? {
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    fn place_of(&self, listed: &Path) -> Result<Place, StorageError> {
        let place = self.keys.place_of(listed);
        place.ok_or_else(|| foreign(listed, "its name is not an object's"))
    }

    /// The second look: whether a seal at this place means nothing, because what lay there had
    /// been trimmed before it came. The trim point in the newest header tells. A seal's does not:
    /// it may have been put far ahead ([`fence`](crate::fence)) by who knew less.
    pub(crate) async fn is_void(&self, seal: Place) -> Result<bool, StorageError> {
        let log = self.keys.log();
        let mut after = self.keys.object(seal);
        let mut void = false;
        loop {
            let page = self.client.list(&log, &after, PAGE).await?;
            for meta in page.iter().rev() {
                match self.look(self.place_of(&meta.location)?).await? {
                    Some(header) if header.kind == Kind::Seal => {}
                    Some(header) => {
                        void = header.trim > seal;
                        break;
                    }
                    None => return Ok(true), // trimmed just now, and so is what lies before it
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE && !void => after = last.location.clone(),
                _ => return Ok(void),
            }
        }
    }

    pub(crate) async fn read_hint(&self) -> Result<Option<Header>, StorageError> {
        let path = self.keys.hint();
        let bytes = self.client.get(&path).await?;
        // A damaged hint is none. One of a newer format is not ours to judge.
        match bytes.map(|bytes| Header::decode(&bytes)) {
            Some(Err(why @ crate::object::NotAnObject::Newer(_))) => {
                Err(foreign(&path, &why.to_string()))
            }
            hint => Ok(hint.and_then(Result::ok)),
        }
    }

    /// Writes a hint if one is due, beside everything else.
    pub(crate) fn hint(self: &Arc<Self>) {
        let Some((confirmed, header)) = self.confirmed_header() else {
            return;
        };
        {
            let mut next = self.next_hint.lock();
            if next.is_none_or(|next| confirmed < next) {
                return;
            }
            *next = None;
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            inner.write_hint(header).await;
            let next = confirmed + u64::from(inner.options.hint_objects);
            *inner.next_hint.lock() = Some(next);
        });
    }

    pub(crate) fn confirmed_header(&self) -> Option<(u64, [u8; HEADER_BYTES])> {
        let term = self.term.lock();
        let term = term.as_ref()?;
        Some((term.confirmed(), term.last_confirmed()?))
    }

    /// Once: a hint that is not written costs the next open some requests, and nothing else.
    pub(crate) async fn write_hint(&self, header: [u8; HEADER_BYTES]) {
        let payload = PutPayload::from(header.to_vec());
        if let Err(why) = self.client.replace(&self.keys.hint(), payload).await {
            tracing::warn!(log = %self.keys, ?why, "the hint could not be written");
        }
    }
}
