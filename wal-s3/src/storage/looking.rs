//! Where the log ends now, as others may have left it; and what segments there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wal_core::{SegmentId, SegmentMeta, StorageError};

use crate::inner::Inner;
use crate::locate::End;
use crate::put::foreign;

/// What was seen so shortly before need not be looked at again.
const JUST_NOW: Duration = Duration::from_millis(2);
/// So many segments' headers are asked for at once by who opens a log for reading.
const HEADERS: usize = 32;

impl Inner {
    pub(super) fn is_newest(&self, segment: SegmentId) -> bool {
        let directory = self.directory.lock();
        directory
            .newest()
            .is_some_and(|(newest, _)| newest == segment)
    }

    pub(crate) fn known_segments(&self) -> Vec<SegmentMeta> {
        let directory = self.directory.lock();
        let segments = directory.iter().map(|(id, entry)| SegmentMeta {
            id: *id,
            first: Some(entry.first),
        });
        segments.collect()
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.term.lock().is_some()
    }

    /// Finds out which segments there are, if this handle has not looked yet.
    pub(super) async fn look_first(self: &Arc<Self>) -> Result<(), StorageError> {
        if !self.is_writer() && self.end.lock().await.is_none() {
            self.look_again().await?;
        }
        Ok(())
    }

    /// A listing and the length that is asked for right after it cost one look.
    pub(super) async fn has_just_looked(&self) -> bool {
        let looked = self.end.lock().await.and_then(|end| end.at);
        looked.is_some_and(|at| at.elapsed() < JUST_NOW)
    }

    /// Looks for what others have stored since; a writer knows.
    pub(super) async fn look_again(self: &Arc<Self>) -> Result<(), StorageError> {
        if self.is_writer() || self.is_damaged() {
            return Ok(());
        }
        let mut end = self.end.lock().await;
        let before = *end;
        let Some(known) = before else {
            let found = self.find_end().await;
            *end = Some(found_now(found.map_err(|why| self.not_opened(why))?));
            self.ask_for_headers(HEADERS);
            return Ok(());
        };
        let mut found = self
            .walk(known, self.batch(known.hole, 1), u64::MAX)
            .await?;
        if let Some(end) = found.as_mut().filter(|end| end.hole == known.hole) {
            end.idle = known.idle.saturating_add(1);
            // Perhaps what follows here was written, read by others, and trimmed.
            let hint = match end.idle.is_multiple_of(16) {
                true => self.read_hint().await?,
                false => None,
            };
            if hint.is_some_and(|hint| hint.place > known.hole) {
                found = None;
            }
        }
        let found = match found {
            Some(found) => found,
            None => self.find_end().await?,
        };
        *end = Some(found_now(found));
        Ok(())
    }

    pub(crate) async fn list(self: &Arc<Self>) -> Result<Vec<SegmentMeta>, StorageError> {
        self.look_again().await?;
        loop {
            let unknown = self.directory.lock().unknown_before();
            let Some(oldest) = unknown else { break };
            let object = self.fetch(oldest).await?.ok_or_else(|| {
                StorageError::NotFound(format!("{} is missing", self.keys.object(oldest)))
            })?;
            let extended = self.directory.lock().extend_back(&object.extra);
            extended.map_err(|why| foreign(&self.keys.object(oldest), why))?;
        }
        Ok(self.known_segments())
    }
}

pub(crate) fn found_now(end: End) -> End {
    End {
        at: Some(Instant::now()),
        ..end
    }
}
