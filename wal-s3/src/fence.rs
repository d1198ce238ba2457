//! Taking the writer's role.
//!
//! Whoever creates the seal at the first hole of an epoch owns the next one. There are no
//! clocks, no leases, and no objects that are ever replaced. `docs/FENCING.md` argues for each
//! rule, and `tests/fencing_model.rs` tries all orders of events.

use std::collections::BTreeSet;
use std::sync::Arc;

use wal_core::planted::{planted, planted_or};
use wal_core::{Lsn, StorageError};

use crate::inner::Inner;
use crate::key::Place;
use crate::locate::End;
use crate::object::{Header, Kind};
use crate::put::{self, Created};
use crate::term::{Term, Upload, now_micros};

/// After so many seals that came too late, one is put in the way of the writer that is fenced: with
/// many uploads under way it fills each hole before a seal reaches it.
const PATIENCE: u32 = 2;
/// How far ahead of it: at first, and at most.
const AHEAD: (u64, u64) = (64, 4096);
/// A writer that cannot be stopped even so is no writer of a log.
const ATTEMPTS: u32 = 100;

impl Inner {
    /// Takes the role, or says who has it. Sends no two seals to one place: a name is bound to its
    /// bytes.
    pub(crate) async fn take(self: &Arc<Self>, writer: u128) -> Result<Term, StorageError> {
        let (probed, end) = tokio::join!(self.probe(), self.find_end());
        probed?;
        let mut end = end?;
        let mut ahead = BTreeSet::new();
        for attempt in 0..ATTEMPTS {
            let takes_over = self.options.take_over || planted("open-takes-over-unasked");
            if !takes_over && !end.is_closed() {
                return Err(self.in_use(&end));
            }
            let at = planted_or("seal-not-at-the-first-hole", end.hole.plus(1), end.hole);
            let seal = self.seal(at, end.hole, writer);
            let created = match ahead.contains(&at) {
                false => Some(self.create(&seal).await?),
                true => None, // its own seal is there: the walk shows it, and passes it
            };
            match created {
                Some(Created::Mine) if self.is_void(end.hole).await? => {
                    // It was trimmed before the seal came: the seal means nothing.
                    end = self.find_end().await?;
                }
                Some(Created::Mine) => return Ok(Term::new(&seal.object.header)),
                Some(Created::Other(_)) | None => {
                    if self.options.take_over && attempt >= PATIENCE {
                        let way = end.hole.plus((AHEAD.0 << attempt.min(16)).min(AHEAD.1));
                        if ahead.insert(way) {
                            // It gives nobody the role: only a seal at the first hole does.
                            self.create(&self.seal(way, end.hole, writer)).await?;
                        }
                    }
                    end = match self.walk(end, self.batch(end.hole, 16), u64::MAX).await? {
                        Some(end) => end,
                        None => self.find_end().await?,
                    };
                }
            }
        }
        Err(StorageError::InUse(format!(
            "the log at {} grows faster than it can be taken over; stop its writer",
            self.keys
        )))
    }

    async fn create(&self, upload: &Upload) -> Result<Created, StorageError> {
        let path = self.keys.object(upload.place);
        let payload = upload.payload.clone();
        put::create(&self.client, &self.hedging, &path, &upload.header, payload).await
    }

    /// A seal for `place`; everything before `hole` is there.
    fn seal(&self, place: Place, hole: Place, writer: u128) -> Upload {
        let label = self.options.owner.as_bytes().to_vec();
        let directory = self.directory.lock();
        let newest = directory.newest();
        let header = Header {
            kind: Kind::Seal,
            extra_bytes: label.len() as u32, // options bound it
            extra_crc: crc32c::crc32c(&label),
            writer,
            place,
            segment: newest.map(|(id, _)| id).unwrap_or_default(),
            offset: newest.map_or(0, |(_, entry)| entry.bytes),
            frame_bytes: 0,
            first: newest.map_or(Lsn::ZERO, |(_, entry)| entry.first),
            confirmed: hole.seq,
            head: newest.map_or(Place::default(), |(_, entry)| entry.place),
            trim: directory.trim,
            gone: directory.gone,
            durable: Lsn::ZERO,
            time: now_micros(),
            previous: 0,
        };
        Upload::new(header, label, Vec::new())
    }

    fn in_use(&self, end: &End) -> StorageError {
        let who = end.last.map_or_else(String::new, |last| {
            let ago = now_micros().saturating_sub(last.time).max(0) / 1_000_000;
            format!(
                "writer {:032x} of epoch {} ({ago} s ago by the clocks of both machines)",
                last.writer, end.hole.epoch
            )
        });
        StorageError::InUse(format!(
            "the log at {} was last written by {who}, which has not closed it. If that writer is \
             gone, or is to be stopped, open with `take_over`",
            self.keys
        ))
    }
}
