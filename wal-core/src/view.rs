//! Reading a log that another process writes.
//!
//! A view takes no lock, needs no space and changes nothing. What it shows is what the log
//! itself attests as durable (W): it cannot know what the writer's syncs have confirmed
//! otherwise. [`look`](crate::look) keeps it up to date.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::look::{Seen, settled};
use crate::map::Map;
use crate::recovery::{self, Recovery};
use crate::segments::SegmentInfo;
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::{Error, Lsn, Reader, Record, Result, SegmentId, Storage, Wal};

/// A log, opened for reading only, while another process may write it. Cheap to clone; all
/// clones are one view.
///
/// It shows records up to [`ReadOnly::durable`] as it was when the log was last looked at:
/// call [`ReadOnly::refresh`], or follow it with [`ReadOnly::tail`]. It protects nothing from
/// release: a reader that the writer's retention has overtaken gets [`Error::Released`].
///
/// ```
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// let disk = SimStorage::new(1);
/// let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// wal.commit(["a", "b"])?;
/// wal.commit("c")?; // attests that "a" and "b" are durable
/// let view = Wal::open_read_only(disk)?; // usually in another process
/// assert_eq!(view.durable(), Lsn::new(2));
/// assert_eq!(view.reader(Lsn::ZERO)?.count(), 2);
/// wal.close()?; // attests everything
/// assert_eq!(view.refresh()?, Lsn::new(3));
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnly {
    view: Arc<View>,
}

#[derive(Debug)]
struct View {
    storage: Arc<dyn Storage>,
    report: Recovery,
    seen: Mutex<Seen>,
    /// A copy of what `seen` says, readable without its lock, which is held during I/O.
    durable: AtomicU64,
    oldest: AtomicU64,
    truncations: AtomicU64,
}

impl Wal {
    /// Opens the log that lies in `storage` for reading only. Takes no lock, needs no free
    /// space and changes nothing; the log may be in use, also by another process.
    ///
    /// # Errors
    /// [`Error::Lost`] if records that were durable are missing or damaged where an open
    /// looks (see [`Wal::open`]): [`Wal::salvage`] reads what is left. [`Error::NewerFormat`],
    /// [`Error::Storage`].
    pub fn open_read_only(storage: impl Storage) -> Result<ReadOnly> {
        let storage: Arc<dyn Storage> = Arc::new(storage);
        let (report, seen) = settled(|| {
            let (report, layout) = recovery::inspect_layout(&storage)?;
            Ok((report, Seen::of(&storage, &layout)?))
        })?;
        let view = View {
            storage,
            report,
            durable: AtomicU64::new(seen.durable().get()),
            oldest: AtomicU64::new(seen.oldest().get()),
            truncations: AtomicU64::new(seen.truncations().count()),
            seen: Mutex::new(seen),
        };
        Ok(ReadOnly {
            view: Arc::new(view),
        })
    }
}

impl ReadOnly {
    /// What a writer's open would have found when this view was opened. Records at or above
    /// [`Recovery::durable`] are not shown: nothing attests yet that they are durable.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.view.report
    }

    /// The oldest record that can be read, as of the last look.
    #[must_use]
    pub fn oldest(&self) -> Lsn {
        Map::oldest(&*self.view)
    }

    /// W: every record below it is durable, as the log itself attested at the last look. The
    /// writer may know of more: what it has acknowledged shows here with its next frame, or
    /// after its [`watermark_delay`](crate::Options::watermark_delay).
    #[must_use]
    pub fn durable(&self) -> Lsn {
        Map::durable(&*self.view)
    }

    /// Looks again, and returns [`ReadOnly::durable`]. Continues from where the last look
    /// ended: costs a read of what is new, and a listing.
    ///
    /// # Errors
    /// [`Error::Lost`] if what was durable is missing or damaged; [`Error::Storage`]. The view
    /// stays as it was.
    pub fn refresh(&self) -> Result<Lsn> {
        self.view.refresh()?;
        Ok(self.durable())
    }

    /// Reads durable records in order, starting with `from`.
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`].
    pub fn reader(&self, from: Lsn) -> Result<Reader> {
        let (oldest, end) = (self.oldest(), self.durable());
        if from < oldest {
            let asked = from;
            return Err(Error::Released { asked, oldest });
        }
        if from > end {
            return Err(Error::Beyond { asked: from, end });
        }
        Ok(Reader::without_hold(self.map(), from))
    }

    /// Reads durable records in order and, at the end, looks for more `every` so often.
    ///
    /// # Errors
    /// [`Error::Released`], [`Error::Beyond`].
    pub fn tail(&self, from: Lsn, every: Duration) -> Result<Follow> {
        Ok(Follow {
            reader: self.reader(from)?,
            view: self.clone(),
            every,
        })
    }

    pub(crate) fn map(&self) -> Arc<dyn Map> {
        Arc::clone(&self.view) as Arc<dyn Map>
    }
}

impl View {
    fn refresh(&self) -> Result<()> {
        let mut seen = self.seen.lock();
        if seen.look(&self.storage).is_err() {
            // The writer may have been faster than the look: start from the headers.
            *seen = settled(|| Seen::new(&self.storage)?.after(&seen, &self.storage))?;
        }
        let truncations = seen.truncations().count();
        if self.truncations.swap(truncations, Ordering::AcqRel) == truncations {
            // What was attested stays so, also where this look did not see it again.
            self.durable
                .fetch_max(seen.durable().get(), Ordering::AcqRel);
        } else {
            self.durable.store(seen.durable().get(), Ordering::Release);
        }
        self.oldest.fetch_max(seen.oldest().get(), Ordering::AcqRel);
        Ok(())
    }
}

impl Map for View {
    fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    fn oldest(&self) -> Lsn {
        Lsn::new(self.oldest.load(Ordering::Acquire))
    }

    fn segment_of(&self, lsn: Lsn) -> Result<Option<SegmentInfo>> {
        Ok(self.seen.lock().segment_of(lsn))
    }

    fn segment_and_next(
        &self,
        id: SegmentId,
    ) -> Result<(Option<SegmentInfo>, Option<SegmentInfo>)> {
        Ok(self.seen.lock().segment_and_next(id))
    }

    fn truncations(&self) -> u64 {
        self.truncations.load(Ordering::Acquire)
    }

    fn truncated_since(&self, seen: u64) -> Option<Lsn> {
        self.seen.lock().truncations().since(seen)
    }

    /// The writer may have released and recycled what is asked for, or left it behind.
    fn unreadable(&self, lsn: Lsn, _error: Error) -> Result<()> {
        self.refresh()?;
        let oldest = Map::oldest(self);
        if lsn < oldest {
            return Err(Error::Released { asked: lsn, oldest });
        }
        Ok(())
    }
}

/// Reads durable records of a [`ReadOnly`] view in order and waits for more by looking again
/// and again. It never ends: when one writer is gone, another may come.
///
/// ```
/// # use std::time::Duration;
/// # use wal_core::{Lsn, Options, Wal, sim::SimStorage};
/// # let disk = SimStorage::new(1);
/// # let (wal, _) = Wal::open(disk.clone(), Options::default())?;
/// let view = Wal::open_read_only(disk)?;
/// let mut tail = view.tail(Lsn::ZERO, Duration::from_millis(5))?;
/// assert!(tail.next_timeout(Duration::from_millis(1))?.is_none());
/// wal.commit("a")?;
/// assert_eq!(tail.next_blocking()?.payload, "a"); // once the log's watermark says so
/// # Ok::<(), wal_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Follow {
    reader: Reader,
    view: ReadOnly,
    every: Duration,
}

impl Follow {
    /// The LSN of the next record.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.reader.position()
    }

    /// Blocks until there is a next record.
    ///
    /// # Errors
    /// [`Error::Released`] if retention overtook this reader; as for [`ReadOnly::refresh`].
    pub fn next_blocking(&mut self) -> Result<Record> {
        loop {
            if let Some(record) = self.next_until(None)? {
                return Ok(record);
            }
        }
    }

    /// As [`Follow::next_blocking`], for at most `limit` besides the time that a look takes;
    /// `None` if nothing came.
    ///
    /// # Errors
    /// As for [`Follow::next_blocking`].
    pub fn next_timeout(&mut self, limit: Duration) -> Result<Option<Record>> {
        self.next_until(Instant::now().checked_add(limit))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.reader.next() {
                return record.map(Some);
            }
            let before = self.view.durable();
            if self.view.refresh()? > before {
                continue;
            }
            let left = match deadline {
                None => self.every,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() && deadline.is_some() {
                return Ok(None);
            }
            std::thread::sleep(left.min(self.every));
        }
    }
}
