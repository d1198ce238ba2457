//! Letting go of what was released.
//!
//! First the trim point is stored, in the sequence: an object with it, confirmed like any other,
//! so that a writer that was fenced can give up nothing. Then what lies before it is deleted, in
//! any order and again after a restart. Seals are never deleted: a writer that slept for a year
//! finds them.

use std::sync::Arc;

use object_store::ObjectMeta;
use object_store::path::Path;
use wal_core::planted::planted;
use wal_core::{SegmentId, StorageError};

use crate::inner::Inner;
use crate::key::Place;
use crate::object::{HEADER_BYTES, Kind};

/// Objects in one listing, and in one deletion.
const PAGE: usize = 1000;
/// A seal is no larger: its header and its writer's name.
const SEAL_BYTES: u64 = HEADER_BYTES as u64 + 200;

impl Inner {
    /// Gives up every segment before this one; returns when that is certain.
    pub(crate) async fn trim_before(
        self: &Arc<Self>,
        segment: SegmentId,
    ) -> Result<(), StorageError> {
        let upload = {
            let mut term = self.term.lock();
            let term = term.as_mut().ok_or_else(not_the_writer)?;
            let mut directory = self.directory.lock();
            match directory.trim_before(segment) {
                Some(trim) if trim > directory.trim => directory.trim = trim,
                _ => return Ok(()),
            }
            directory.forget_trimmed();
            term.note(&directory, Kind::Trim, Vec::new())?
        };
        self.store(upload).await?;
        self.sweep();
        Ok(())
    }

    /// Takes one segment off the list, wherever it stands; its objects go when they are trimmed.
    pub(crate) async fn drop_segment(
        self: &Arc<Self>,
        segment: SegmentId,
    ) -> Result<(), StorageError> {
        let upload = {
            let mut term = self.term.lock();
            let term = term.as_mut().ok_or_else(not_the_writer)?;
            let mut directory = self.directory.lock();
            if directory.get(segment).is_none() {
                return Ok(());
            }
            directory.remove(segment);
            let catalogue = directory.catalogue();
            term.note(&directory, Kind::Trim, catalogue)?
        };
        self.store(upload).await
    }

    /// Stores an object, and waits until it is confirmed.
    pub(crate) async fn store(
        self: &Arc<Self>,
        upload: crate::term::Upload,
    ) -> Result<(), StorageError> {
        let seq = upload.place.seq;
        self.upload(upload).await?;
        self.confirmed(seq).await
    }

    /// Deletes what lies before the trim point, beside everything else. What fails is tried
    /// again with the next trim, or by the next writer.
    pub(crate) fn sweep(self: &Arc<Self>) {
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            let _one_at_a_time = inner.sweeping.lock().await;
            if let Err(why) = inner.sweep_now().await {
                tracing::warn!(log = %inner.keys, %why, "released objects could not be deleted");
            }
        });
    }

    async fn sweep_now(&self) -> Result<(), StorageError> {
        let (gone, trim, oldest) = {
            let directory = self.directory.lock();
            let oldest = directory.iter().next().map(|(id, _)| *id);
            (directory.gone, directory.trim, oldest)
        };
        if gone >= trim {
            return Ok(());
        }
        let log = self.keys.log();
        let mut after = match gone {
            Place { epoch: 0, seq: 0 } => log.clone(),
            gone => self
                .keys
                .object(Place::new(gone.epoch, gone.seq.saturating_sub(1))),
        };
        loop {
            let page = self.client.list(&log, &after, PAGE).await?;
            let Some(last) = page.last().map(|meta| meta.location.clone()) else {
                break;
            };
            let before = |meta: &ObjectMeta| self.keys.place_of(&meta.location) < Some(trim);
            let whole = page.len() == PAGE && page.last().is_some_and(before);
            let page: Vec<ObjectMeta> = page.into_iter().filter(before).collect();
            self.delete_but_seals(page).await?;
            if !whole {
                break;
            }
            after = last;
        }
        if let Some(oldest) = oldest {
            self.sweep_footers(oldest).await?;
        }
        let mut directory = self.directory.lock();
        directory.gone = directory.gone.max(trim);
        Ok(())
    }

    pub(crate) async fn erase(&self) -> Result<u64, StorageError> {
        let everything = self.keys.prefix();
        let mut erased = 0;
        loop {
            let page = self.client.list(everything, everything, PAGE).await?;
            if page.is_empty() {
                return Ok(erased);
            }
            erased += page.len() as u64;
            let names = page.into_iter().map(|meta| meta.location);
            self.client.delete(names.collect()).await?;
        }
    }

    async fn delete_but_seals(&self, page: Vec<ObjectMeta>) -> Result<(), StorageError> {
        let mut going = Vec::with_capacity(page.len());
        for meta in page {
            let place = self.keys.place_of(&meta.location).unwrap_or_default();
            let seal = meta.size <= SEAL_BYTES
                && !planted("seals-deleted")
                && (self.look(place).await?).is_some_and(|header| header.kind == Kind::Seal);
            if !seal {
                self.cache.lock().remove(place);
                going.push(meta.location);
            }
        }
        self.client.delete(going).await
    }

    async fn sweep_footers(&self, oldest: SegmentId) -> Result<(), StorageError> {
        let (first, end) = (
            self.keys.footer(SegmentId::default()),
            self.keys.footer(oldest),
        );
        let Some(under) = first.parent() else {
            return Ok(());
        };
        loop {
            let page = self.client.list(&under, &first, PAGE).await?;
            let full = page.len() == PAGE;
            let names = page.into_iter().map(|meta| meta.location);
            let going: Vec<Path> = names.filter(|name| *name < end).collect();
            let more = full && going.len() == PAGE;
            self.client.delete(going).await?;
            if !more {
                return Ok(());
            }
        }
    }
}

pub(crate) fn not_the_writer() -> StorageError {
    StorageError::InUse("this handle has not the writer's role".into())
}
