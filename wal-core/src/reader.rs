//! Reading durable records in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::frame::{Frame, Records};
use crate::map::Map;
use crate::retention::Hold;
use crate::scan::{Found, Walker};
use crate::segment::SegmentHeader;
use crate::shared::Shared;
use crate::{Error, Lsn, Result};

/// A record read from the log.
///
/// The payload shares memory with what was read around it (up to 1 MiB, or its frame if
/// that is larger): copy it if a few records are to be kept for long.
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// wal.commit("payload")?;
/// let record = wal.reader(Lsn::ZERO)?.next().unwrap()?;
/// assert_eq!((record.lsn, record.payload.as_ref()), (Lsn::ZERO, &b"payload"[..]));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number.
    pub lsn: Lsn,
    /// The bytes that were appended.
    pub payload: Bytes,
}

/// Reads durable records in order (G10), each verified.
///
/// Yields `None` at the durable end of the log; more may come when it is called again
/// later. What a reader of [`Wal`](crate::Wal) has not yielded yet is protected from release;
/// a reader of [`ReadOnly`](crate::ReadOnly) protects nothing, and fails with
/// [`Error::Released`] when retention was faster.
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let (wal, _) = Wal::open(SimStorage::new(1), Options::default())?;
/// let mut reader = wal.reader(Lsn::ZERO)?;
/// assert!(reader.next().is_none());
/// wal.commit(["a", "b"])?;
/// assert_eq!(reader.count(), 2);
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    map: Arc<dyn Map>,
    /// What keeps the records from release; a read-only view has none.
    hold: Option<Hold>,
    next: Lsn,
    walker: Option<Walker>,
    records: Option<Records>,
    /// How often the log had been truncated when this reader last looked.
    truncated: u64,
}

/// So often is a frame looked for anew when the map turns out to be out of date. Each time
/// the writer must have overtaken the reader by a segment in between.
const ATTEMPTS: usize = 8;

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, hold: Hold) -> Self {
        let next = hold.from();
        Reader {
            hold: Some(hold),
            ..Reader::without_hold(shared, next)
        }
    }

    /// The caller has checked that `next` may be read.
    pub(crate) fn without_hold(map: Arc<dyn Map>, next: Lsn) -> Self {
        Reader {
            truncated: map.truncations(),
            map,
            hold: None,
            next,
            walker: None,
            records: None,
        }
    }

    /// The LSN of the next record.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.next
    }

    pub(crate) fn segments(&self) -> &Arc<dyn Map> {
        &self.map
    }

    /// The live log, if this reads one.
    pub(crate) fn shared(&self) -> Option<&Arc<Shared>> {
        self.hold.as_ref().map(Hold::shared)
    }

    /// G10: what was read ahead may have been truncated since. Then the reader ends, unless it
    /// has not come so far yet.
    fn check_truncated(&mut self) -> Result<()> {
        let now = self.map.truncations();
        if now == self.truncated {
            return Ok(());
        }
        if let Some(to) = self.map.truncated_since(self.truncated)
            && to < self.next
        {
            return Err(Error::Truncated { to });
        }
        self.truncated = now;
        (self.walker, self.records) = (None, None);
        Ok(())
    }

    /// The verified frame that holds the next record; only called while that is durable.
    fn next_frame(&mut self) -> Result<Frame> {
        let mut attempt = 1;
        loop {
            match self.find_frame() {
                Err(error) => {
                    self.walker = None;
                    self.map.unreadable(self.next, error.clone())?;
                    if attempt == ATTEMPTS {
                        return Err(error);
                    }
                    attempt += 1;
                }
                found => return found,
            }
        }
    }

    fn find_frame(&mut self) -> Result<Frame> {
        let mut fresh = false;
        loop {
            let walker = match &mut self.walker {
                Some(walker) => walker,
                None => {
                    fresh = true;
                    let segment = self.map.segment_of(self.next)?.ok_or(Error::Released {
                        asked: self.next,
                        oldest: self.map.oldest(),
                    })?;
                    let walker = self.walker_of(&segment.header)?;
                    self.walker.insert(walker)
                }
            };
            match walker.next()? {
                Found::Frame(frame) if frame.header.end() <= self.next => {}
                Found::Frame(frame) => return Ok(frame),
                // What was read ahead may be older than the frame; read it again, once.
                Found::Nothing(_) if !fresh => {
                    fresh = true;
                    let segment = walker.position().segment;
                    let limit = self.map.limit_of(segment)?;
                    if let Some(walker) = &mut self.walker {
                        walker.extend(limit);
                    }
                }
                Found::Nothing(reason) => {
                    let at = walker.position();
                    let chain = walker.chain();
                    let (_, after) = self.map.segment_and_next(at.segment)?;
                    let after = after.filter(|after| {
                        (after.header.first, after.header.chain) == (at.lsn, chain)
                    });
                    let Some(after) = after else {
                        return Err(Error::Lost {
                            lost: at.lsn..self.map.durable(),
                            at,
                            reason: reason.into(),
                        });
                    };
                    fresh = true;
                    self.walker = Some(self.walker_of(&after.header)?);
                }
            }
        }
    }

    fn walker_of(&self, header: &SegmentHeader) -> Result<Walker> {
        let limit = self.map.limit_of(header.segment)?;
        Ok(Walker::new(Arc::clone(self.map.storage()), *header, limit))
    }
}

impl Iterator for Reader {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.check_truncated() {
            return Some(Err(error));
        }
        loop {
            for (lsn, payload) in self.records.iter_mut().flatten() {
                if lsn >= self.next {
                    self.next = lsn.plus(1);
                    return Some(Ok(Record { lsn, payload }));
                }
            }
            self.records = None;
            if self.next >= self.map.durable() {
                return None;
            }
            match self.next_frame() {
                Ok(frame) => {
                    // The frame is in memory: the log need not keep it for this reader.
                    if let Some(hold) = &mut self.hold {
                        hold.advance(frame.header.end());
                    }
                    self.records = Some(frame.into_records());
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
