//! Listing a log that is damaged (G4), for who salvages it.
//!
//! Everything that is listed counts, by its own word: the header of each object, wherever it lies.
//! Where a header cannot be read its neighbours tell what the object was, as far as they do, and
//! its bytes are read as they are: `wal-core` verifies each frame. So no more is lost than what is
//! damaged, and what is damaged is there to be named.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use wal_core::{SegmentMeta, StorageError};

use crate::directory::Directory;
use crate::inner::Inner;
use crate::key::Place;
use crate::locate::{End, PAGE};
use crate::object::{HEADER_BYTES, Header, Kind};
use crate::storage::found_now;

/// Headers that are looked at together.
const LOOKS: usize = 32;

/// More objects are not believed to be missing in a row.
const MISSING: u64 = 1024;

/// An object as it was listed.
#[derive(Debug)]
struct Listed {
    place: Place,
    size: u64,
    /// What it says, if that can be read.
    header: Option<Header>,
}

impl Inner {
    /// The segments, also where damage keeps the end of the log from being found.
    pub(crate) async fn list_damaged(self: &Arc<Self>) -> Result<Vec<SegmentMeta>, StorageError> {
        if self.is_writer() {
            return self.list().await;
        }
        self.rescue().await?;
        Ok(self.known_segments())
    }

    /// Whether the log is read as far as there is any of it.
    pub(crate) fn is_damaged(&self) -> bool {
        self.rescued.lock().is_some()
    }

    /// What its neighbours say of an object.
    pub(crate) fn rescued(&self, place: Place) -> Option<Header> {
        self.rescued.lock().as_ref()?.get(&place).copied()
    }

    async fn rescue(self: &Arc<Self>) -> Result<(), StorageError> {
        let mut listed = self.all_listed().await?;
        let said = |header: &Header| (header.kind != Kind::Seal).then_some(header.trim);
        let trims = listed.iter().filter_map(|it| it.header.as_ref());
        let trim = trims.filter_map(said).max().unwrap_or_default();
        listed.retain(|it| it.place >= trim);
        forget_behind_seals(&mut listed);
        let mut directory = Directory::default();
        directory.trim = trim;
        let rescued = take_up(&listed, &mut directory);
        let last = listed.iter().rev().find_map(|it| it.header);
        let end = found_now(last.map_or(End::EMPTY, End::after));
        *self.directory.lock() = directory;
        *self.seen_end.lock() = end.hole;
        *self.rescued.lock() = Some(rescued);
        self.cache.lock().clear(); // there, objects still are what they say themselves
        *self.end.lock().await = Some(end);
        Ok(())
    }

    async fn all_listed(self: &Arc<Self>) -> Result<Vec<Listed>, StorageError> {
        let log = self.keys.log();
        let (mut after, mut found) = (log.clone(), Vec::new());
        loop {
            let page = self.client.list(&log, &after, PAGE).await?;
            let named = page.iter().filter_map(|meta| {
                let place = self.keys.place_of(&meta.location)?;
                Some((place, meta.size))
            });
            let named: Vec<(Place, u64)> = named.collect();
            for together in named.chunks(LOOKS) {
                let looks = together.iter().map(|(place, _)| self.look(*place));
                for ((place, size), header) in together.iter().zip(join_all(looks).await) {
                    let header = match header {
                        Ok(header) => header,
                        Err(StorageError::Conflict(_)) => None,
                        Err(cause) => return Err(cause),
                    };
                    found.push(Listed {
                        place: *place,
                        size: *size,
                        header,
                    });
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = last.location.clone(),
                _ => return Ok(found),
            }
        }
    }
}

/// What follows a seal in its epoch never counted.
fn forget_behind_seals(listed: &mut Vec<Listed>) {
    let mut sealed = None;
    listed.retain(|it| {
        let behind = sealed == Some(it.place.epoch);
        if it.header.is_some_and(|header| header.kind == Kind::Seal) {
            sealed = Some(it.place.epoch);
        }
        !behind
    });
}

/// Fills the directory; returns what the objects were whose own headers cannot be believed.
fn take_up(listed: &[Listed], directory: &mut Directory) -> BTreeMap<Place, Header> {
    let mut rescued = BTreeMap::new();
    let mut before: Option<Header> = None;
    let largest = listed.iter().map(|it| it.size).max().unwrap_or(0);
    for (at, it) in listed.iter().enumerate() {
        let said = it
            .header
            .filter(|header| is_credible(header, before, largest));
        let header = said.or_else(|| {
            let behind = listed.get(at + 1..).unwrap_or_default();
            let next = behind.iter().find_map(|it| it.header);
            let header = guess(it, before?, next)?;
            rescued.insert(it.place, header);
            Some(header)
        });
        if let Some(header) = header.filter(|header| header.kind == Kind::Frames) {
            directory.rescue(&header);
        }
        before = header.or(before);
    }
    rescued
}

/// Whether its frames can lie where it says: behind those of the object before, no further than
/// objects that are missing in between can have filled. Nothing but a forger says otherwise.
fn is_credible(header: &Header, before: Option<Header>, largest: u64) -> bool {
    let place = header.place;
    let before = before.filter(|before| before.place.epoch == place.epoch);
    let after = before.map_or(0, |before| before.place.seq.saturating_add(1));
    let missing = place.seq.saturating_sub(after);
    let room = missing.min(MISSING).saturating_mul(largest);
    let from = before.filter(|before| before.segment == header.segment);
    let from = from.map_or(0, |before| before.end_offset());
    let at = header.offset;
    header.kind != Kind::Frames || at == 0 || (from..=from.saturating_add(room)).contains(&at)
}

/// What an object was, by those around it: the first of a segment if the next one says so, else
/// one that goes on where the one before ended; as many frames as have room between them.
fn guess(it: &Listed, before: Header, next: Option<Header>) -> Option<Header> {
    let next = next.filter(|next| next.place.epoch == it.place.epoch);
    let (segment, offset, head) = match next {
        Some(next) if next.head == it.place => (next.segment, 0, it.place),
        _ => (before.segment, before.end_offset(), before.head),
    };
    let room = next.filter(|next| next.segment == segment);
    let room = room.map_or(u64::MAX, |next| next.offset.saturating_sub(offset));
    let frame_bytes = it.size.saturating_sub(HEADER_BYTES as u64).min(room);
    (frame_bytes > 0).then_some(Header {
        kind: Kind::Frames,
        place: it.place,
        segment,
        offset,
        head,
        frame_bytes,
        ..before
    })
}
