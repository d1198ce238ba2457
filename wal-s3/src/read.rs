//! Reading bytes of a segment: which objects hold them, and fetching ahead.
//!
//! What is missing or damaged within a segment reads as zeros, as far as the objects around it
//! tell: the log finds no frame there, names the loss, and can read on behind it (G4).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use wal_core::{SegmentId, StorageError};

use crate::directory::Known;
use crate::inner::{Inner, stopped};
use crate::key::Place;
use crate::object::{Kind, Object};

/// Headers that are looked at together, when an offset is searched.
const LOOKS: u64 = 32;
/// Objects without frames that may lie between two of a segment, and objects that may be
/// missing in a row.
const GAP: u64 = 300;
/// A read that begins at most so far before the end of an earlier one goes on from there.
const OVERLAP: u64 = 4 << 20;
/// A segment's footer is at most so long.
pub(crate) const FOOTER_BYTES: u64 = 2 << 20;
const ZEROS: Bytes = Bytes::from_static(&[0; 64 << 10]);

/// Where the last reads ended: who reads in order is fetched for ahead.
#[derive(Debug, Default)]
pub(crate) struct Reads(VecDeque<(SegmentId, u64)>);

impl Reads {
    /// Notes a read, and tells whether it goes on where another one ended. (A header that is
    /// read twice goes on nowhere.)
    fn goes_on(&mut self, segment: SegmentId, range: &Range<u64>) -> bool {
        let follows = |(id, end): &(SegmentId, u64)| {
            let near = range.start <= *end && *end - range.start <= OVERLAP;
            *id == segment && near && range.end > *end
        };
        let before = self.0.iter().position(follows);
        if let Some(before) = before {
            self.0.remove(before);
        }
        self.0.push_front((segment, range.end));
        self.0.truncate(16);
        before.is_some() || (range.start == 0 && range.end > 4096)
    }
}

/// What holds an offset.
enum Found {
    Object(Arc<Object>),
    /// Nothing, up to this offset.
    Gap(u64),
}

/// Stands for what is not there.
fn zeros(from: u64, to: u64, parts: &mut Vec<Bytes>) -> u64 {
    let mut at = from;
    while at < to {
        let zeros = (to - at).min(ZEROS.len() as u64);
        parts.push(ZEROS.slice(..usize::try_from(zeros).unwrap_or(0)));
        at += zeros;
    }
    to
}

impl Inner {
    pub(crate) async fn read(
        self: &Arc<Self>,
        segment: SegmentId,
        range: Range<u64>,
    ) -> Result<Bytes, StorageError> {
        let entry = self.directory.lock().get(segment).copied();
        let entry = entry.ok_or_else(|| StorageError::NotFound(format!("segment {segment}")))?;
        let in_order = self.reads.lock().goes_on(segment, &range);
        if in_order && self.directory.lock().after(segment).is_some() {
            drop(self.fetch_footer(segment)); // it is read next, and goes on by itself
        }
        let end = range.end.min(entry.bytes);
        let mut at = range.start;
        let mut parts = Vec::new();
        while at < end {
            match self.object_at(segment, at, entry.bytes, in_order).await? {
                Found::Object(object) if object.header.covers(at) => {
                    object.part(at, end, &mut parts);
                    at = object.header.end_offset();
                }
                // Who says that the log goes on there, and has nothing of it, is believed nothing: a
                // forged header would keep this going for ever, or put its bytes elsewhere (G9).
                Found::Object(_) => at = zeros(at, end, &mut parts),
                Found::Gap(to) => {
                    at = zeros(at, to.clamp(at + 1, end), &mut parts);
                }
            }
        }
        if range.end > entry.bytes {
            self.footer(segment, range, entry.bytes, &mut parts).await?;
        }
        Ok(joined(parts))
    }

    /// The same, if everything is in memory.
    pub(crate) fn read_cached(
        self: &Arc<Self>,
        segment: SegmentId,
        range: &Range<u64>,
    ) -> Option<Bytes> {
        let (parts, last) = self.cached_parts(segment, range)?;
        if self.reads.lock().goes_on(segment, range) {
            self.fetch_ahead(last);
        }
        Some(joined(parts))
    }

    fn cached_parts(&self, segment: SegmentId, range: &Range<u64>) -> Option<(Vec<Bytes>, Place)> {
        let directory = self.directory.lock();
        let entry = directory.get(segment)?;
        if range.end > entry.bytes || range.is_empty() {
            return None;
        }
        let cache = self.cache.lock();
        let (mut at, mut last) = (range.start, entry.place);
        let mut parts = Vec::new();
        while at < range.end {
            let known = directory.floor(segment, at)?;
            let object = cache.peek(known.place).filter(|_| at < known.end)?;
            object.part(at, range.end, &mut parts);
            (at, last) = (known.end, known.place);
        }
        Some((parts, last))
    }

    async fn object_at(
        self: &Arc<Self>,
        segment: SegmentId,
        offset: u64,
        end: u64,
        in_order: bool,
    ) -> Result<Found, StorageError> {
        for _ in 0..GAP {
            let (entry, known) = {
                let directory = self.directory.lock();
                let entry = directory.get(segment).copied();
                (entry, directory.floor(segment, offset))
            };
            let gone = || StorageError::NotFound(format!("segment {segment}"));
            let entry = entry.ok_or_else(gone)?;
            let next = known.map_or(entry.place, |known| known.place.next());
            match known {
                Some(known) if offset < known.end => {
                    return self.whole(known, in_order).await;
                }
                Some(known) if offset > known.end => {
                    if !self.search(segment, next, offset).await? {
                        return self.gap(segment, next, offset, end).await;
                    }
                }
                None if offset > 0 => {
                    if !self.search(segment, next, offset).await? {
                        return self.gap(segment, next, offset, end).await;
                    }
                }
                _ => match self.next_object(segment, next, in_order).await? {
                    Some(object) => return Ok(Found::Object(object)),
                    None => return self.gap(segment, next, offset, end).await,
                },
            }
        }
        Ok(Found::Gap(end))
    }

    /// An object that is known to be there.
    async fn whole(self: &Arc<Self>, known: Known, in_order: bool) -> Result<Found, StorageError> {
        if in_order {
            self.fetch_ahead(known.place);
        }
        match self.fetch(known.place).await {
            Ok(Some(object)) => Ok(Found::Object(object)),
            Ok(None) | Err(StorageError::Conflict(_)) => Ok(Found::Gap(known.end)),
            Err(cause) => Err(cause),
        }
    }

    /// The next object of the segment, at or soon behind `place`.
    async fn next_object(
        self: &Arc<Self>,
        segment: SegmentId,
        mut place: Place,
        in_order: bool,
    ) -> Result<Option<Arc<Object>>, StorageError> {
        for _ in 0..GAP {
            if in_order {
                self.fetch_ahead(place);
            }
            let object = match self.fetch(place).await {
                Ok(Some(object)) => object,
                Ok(None) | Err(StorageError::Conflict(_)) => return Ok(None),
                Err(cause) => return Err(cause),
            };
            match object.header.kind {
                Kind::Frames if object.header.segment == segment => {
                    self.directory.lock().grow(&object.header);
                    return Ok(Some(object));
                }
                Kind::Trim => place = place.next(),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Looks at the next headers, to find where an offset lies; `false` if there is nothing new.
    async fn search(
        self: &Arc<Self>,
        segment: SegmentId,
        from: Place,
        offset: u64,
    ) -> Result<bool, StorageError> {
        let looks = (0..LOOKS).map(|more| self.look(from.plus(more)));
        let mut new = false;
        for found in join_all(looks).await {
            match found {
                Ok(Some(header)) if header.kind == Kind::Frames && header.segment == segment => {
                    self.directory.lock().grow(&header);
                    new |= header.offset <= offset;
                }
                Ok(_) | Err(StorageError::Conflict(_)) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(new)
    }

    /// Nothing holds `offset`: how far that goes.
    async fn gap(
        self: &Arc<Self>,
        segment: SegmentId,
        from: Place,
        offset: u64,
        end: u64,
    ) -> Result<Found, StorageError> {
        let looks = (0..GAP).map(|more| self.look(from.plus(more)));
        let mut to = end;
        for found in join_all(looks).await {
            match found {
                Ok(Some(header)) if header.kind == Kind::Frames && header.segment == segment => {
                    self.directory.lock().grow(&header);
                    if header.offset > offset {
                        to = to.min(header.offset);
                    }
                }
                Ok(_) | Err(StorageError::Conflict(_)) => {}
                Err(cause) => return Err(cause),
            }
        }
        tracing::warn!(%segment, offset, to, "objects of the log are missing or damaged");
        Ok(Found::Gap(to))
    }

    fn fetch_ahead(self: &Arc<Self>, place: Place) {
        let room = {
            let mut cache = self.cache.lock();
            cache.passed(Place::new(place.epoch, place.seq.saturating_sub(1)));
            cache.room_ahead()
        };
        let ahead = u64::from(self.options.read_ahead).min(room);
        let end = self.epoch_end(place);
        for more in 1..=ahead {
            let next = place.plus(more);
            if next.seq >= end {
                return;
            }
            drop(self.fetch(next)); // it goes on by itself
        }
    }

    /// Up to where an epoch is known to have objects.
    fn epoch_end(&self, place: Place) -> u64 {
        if let Some(term) = self
            .term
            .lock()
            .as_ref()
            .filter(|term| term.epoch == place.epoch)
        {
            return term.confirmed();
        }
        match *self.seen_end.lock() {
            end if end.epoch == place.epoch => end.seq,
            _ => u64::MAX,
        }
    }

    /// The part of the footer that lies in `range`.
    async fn footer(
        self: &Arc<Self>,
        segment: SegmentId,
        range: Range<u64>,
        start: u64,
        parts: &mut Vec<Bytes>,
    ) -> Result<(), StorageError> {
        let left = self.directory.lock().after(segment).is_some();
        if !left || range.start >= start.saturating_add(FOOTER_BYTES) {
            return Ok(());
        }
        let Some(bytes) = self.fetch_footer(segment).await? else {
            self.footers.lock().forget(segment); // it may still come
            return Ok(());
        };
        // A footer is only a shortcut: one that is damaged is none.
        if let Ok(object) = Object::decode(&bytes)
            && (object.header.segment, object.header.offset) == (segment, start)
        {
            object.part(range.start.max(start), range.end, parts);
        }
        Ok(())
    }

    /// The footer of a segment, whole: from a request that was made already, or a new one.
    fn fetch_footer(self: &Arc<Self>, segment: SegmentId) -> Footer {
        let mut footers = self.footers.lock();
        if let Some(footer) = footers.get(segment) {
            return footer;
        }
        let inner = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let path = inner.keys.footer(segment);
            inner.client.get(&path).await
        });
        let footer = async move { task.await.map_err(stopped)? };
        footers.keep(segment, footer.boxed().shared())
    }
}

/// A footer on its way, or here; or that there is none.
type Footer = Shared<BoxFuture<'static, Result<Option<Bytes>, StorageError>>>;

/// The footers that were asked for last.
#[derive(Debug, Default)]
pub(crate) struct Footers(VecDeque<(SegmentId, Footer)>);

impl Footers {
    fn get(&self, segment: SegmentId) -> Option<Footer> {
        let found = self.0.iter().find(|(id, _)| *id == segment);
        found.map(|(_, footer)| footer.clone())
    }

    fn keep(&mut self, segment: SegmentId, footer: Footer) -> Footer {
        self.0.push_front((segment, footer.clone()));
        self.0.truncate(4);
        footer
    }

    fn forget(&mut self, segment: SegmentId) {
        self.0.retain(|(id, _)| *id != segment);
    }
}

/// One piece of memory; copied only if there are several.
fn joined(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        0 => Bytes::new(),
        1 => parts.remove(0),
        _ => parts.concat().into(),
    }
}
