//! Taking the writer's role and giving it up; and the end of a closed log.

use std::sync::Arc;

use bytes::Bytes;
use wal_core::{Epoch, Identity, Position, StorageError, Writer};

use crate::cache::Cache;
use crate::directory::Directory;
use crate::inner::{Inner, random_id};
use crate::key::Place;
use crate::object::{Header, Kind};
use crate::put::{self, Created, foreign};
use crate::term::Upload;
use crate::trim::not_the_writer;

impl Inner {
    pub(super) async fn acquire(self: &Arc<Self>) -> Result<Writer, StorageError> {
        if self
            .term
            .lock()
            .as_ref()
            .is_some_and(|term| term.check().is_ok())
        {
            let held = format!(
                "the log at {} is open for writing in this handle",
                self.keys
            );
            return Err(StorageError::InUse(held));
        }
        // What an earlier term had under way may never have been stored.
        *self.term.lock() = None;
        *self.directory.lock() = Directory::default();
        *self.cache.lock() = Cache::new(self.options.cache_bytes);
        let taken = self.take(random_id()?).await;
        let term = taken.map_err(|why| self.not_opened(why))?;
        let writer = Writer {
            epoch: Epoch::new(term.epoch),
            id: Identity::new(term.writer),
        };
        *self.term.lock() = Some(term);
        *self.next_hint.lock() = Some(u64::from(self.options.hint_objects));
        self.sweep();
        Ok(writer)
    }

    /// Closes the log, if this handle has it open for writing.
    pub(super) async fn resign(self: &Arc<Self>) -> Result<(), StorageError> {
        let upload = {
            let mut term = self.term.lock();
            let directory = self.directory.lock();
            match term
                .as_mut()
                .map(|term| term.note(&directory, Kind::Close, Vec::new()))
            {
                Some(Ok(upload)) => Some(upload),
                _ => None, // fenced or failed: nothing can be stored any more
            }
        };
        let closed = match upload {
            Some(upload) => self.store(upload).await,
            None => Ok(()),
        };
        if closed.is_ok()
            && let Some((_, header)) = self.confirmed_header()
        {
            self.write_hint(header).await;
        }
        *self.term.lock() = None;
        *self.end.lock().await = None;
        closed
    }

    /// The last append to a segment that was left. It stands outside of the sequence: nothing
    /// that is acknowledged depends on it.
    pub(super) async fn append_footer(
        self: &Arc<Self>,
        at: Position,
        frames: Vec<Bytes>,
    ) -> Result<(), StorageError> {
        let header = {
            let term = self.term.lock();
            let term = term.as_ref().ok_or_else(not_the_writer)?;
            term.check()?;
            let entry = self.directory.lock().get(at.segment).copied();
            let taken = || StorageError::Conflict(format!("{at} is taken"));
            let entry = entry
                .filter(|entry| entry.bytes == at.offset)
                .ok_or_else(taken)?;
            Header {
                kind: Kind::Footer,
                extra_bytes: 0,
                extra_crc: crc32c::crc32c(&[]),
                writer: term.writer,
                place: Place::new(term.epoch, 0),
                segment: at.segment,
                offset: at.offset,
                frame_bytes: frames.iter().map(|frame| frame.len() as u64).sum(),
                first: at.lsn,
                confirmed: term.confirmed(),
                head: entry.place,
                trim: Place::default(),
                gone: Place::default(),
                durable: at.lsn,
                time: crate::term::now_micros(),
                previous: 0,
            }
        };
        let upload = Upload::new(header, Vec::new(), frames);
        let path = self.keys.footer(at.segment);
        let payload = upload.payload;
        match put::create(&self.client, &self.hedging, &path, &upload.header, payload).await? {
            Created::Mine => Ok(()),
            Created::Other(_) => Err(foreign(&path, "another footer is there")),
        }
    }
}
