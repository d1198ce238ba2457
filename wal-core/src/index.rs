//! Which frame of a segment holds an LSN, or was written at a time.
//!
//! An index is kept while a segment is written, and stored in its footer. It is bounded:
//! beyond [`MAX_ENTRIES`] it forgets every second entry, and each of the rest stands for twice
//! as many frames.

use crate::Lsn;

/// Entries of an index at most: 384 KiB.
pub(crate) const MAX_ENTRIES: usize = 16_384;

/// The place of a frame with records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Its first record.
    pub(crate) lsn: Lsn,
    /// Where it starts in its segment.
    pub(crate) offset: u64,
    /// When it was written, in microseconds since 1970.
    pub(crate) time: i64,
}

/// The frames of one segment, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// Every so many frames have an entry.
    stride: u64,
    frames: u64,
    payload_bytes: u64,
    last_time: i64,
}

impl Default for Index {
    fn default() -> Self {
        Index {
            entries: Vec::new(),
            stride: 1,
            frames: 0,
            payload_bytes: 0,
            last_time: 0,
        }
    }
}

impl Index {
    /// An index that was stored. `entries` ascend.
    pub(crate) fn stored(
        entries: Vec<Entry>,
        frames: u64,
        payload_bytes: u64,
        last_time: i64,
    ) -> Self {
        let stride = frames.div_ceil(entries.len().max(1) as u64);
        Index {
            stride: stride.max(1).checked_next_power_of_two().unwrap_or(1 << 63),
            entries,
            frames,
            payload_bytes,
            last_time,
        }
    }

    /// Notes the next frame.
    pub(crate) fn push(&mut self, entry: Entry, payload_bytes: u64) {
        if self.frames.is_multiple_of(self.stride) {
            self.entries.push(entry);
        }
        self.frames += 1;
        self.payload_bytes += payload_bytes;
        self.last_time = entry.time;
        if self.entries.len() > MAX_ENTRIES {
            let mut keep = false;
            self.entries.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
    }

    /// Forgets the newest frame, which stood at `offset`.
    pub(crate) fn pop(&mut self, offset: u64, payload_bytes: u64) {
        self.entries.pop_if(|last| last.offset == offset);
        self.frames = self.frames.saturating_sub(1);
        self.payload_bytes = self.payload_bytes.saturating_sub(payload_bytes);
    }

    /// The last entry at or below `lsn`, and the one after it.
    pub(crate) fn floor(&self, lsn: Lsn) -> Option<(Entry, Option<Entry>)> {
        let after = self.entries.partition_point(|entry| entry.lsn <= lsn);
        self.at(after.checked_sub(1)?)
    }

    /// The last entry whose frame is older than `time`, or the first entry.
    pub(crate) fn before(&self, time: i64) -> Option<(Entry, Option<Entry>)> {
        let after = self.entries.partition_point(|entry| entry.time < time);
        self.at(after.saturating_sub(1))
    }

    fn at(&self, place: usize) -> Option<(Entry, Option<Entry>)> {
        let found = self.entries.get(place)?;
        Some((*found, self.entries.get(place + 1).copied()))
    }

    /// Whether every frame has an entry of its own.
    pub(crate) fn is_dense(&self) -> bool {
        self.stride == 1
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    pub(crate) fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    pub(crate) fn last_time(&self) -> i64 {
        self.last_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(frames: u64) -> Index {
        let mut index = Index::default();
        for frame in 0..frames {
            let entry = Entry {
                lsn: Lsn::new(frame * 10),
                offset: frame * 4096,
                time: i64::try_from(frame).unwrap(),
            };
            index.push(entry, 100);
        }
        index
    }

    #[test]
    fn the_frame_of_an_lsn_is_found() {
        let index = index(3);
        assert_eq!(index.floor(Lsn::new(9)).unwrap().0.offset, 0);
        let (found, next) = index.floor(Lsn::new(10)).unwrap();
        assert_eq!((found.offset, next.unwrap().offset), (4096, 8192));
        assert_eq!(index.floor(Lsn::new(99)).unwrap().0.offset, 8192);
        assert_eq!(index.before(1).unwrap().0.offset, 0);
        assert_eq!(index.before(2).unwrap().0.offset, 4096);
        assert_eq!(index.before(-7).unwrap().0.offset, 0);
    }

    #[test]
    fn a_long_index_stays_bounded_and_still_finds_a_frame_at_or_before() {
        let index = index(100_000);
        assert!(index.entries().len() <= MAX_ENTRIES);
        assert_eq!(index.frames(), 100_000);
        for frame in [0, 1, 49_999, 99_999] {
            let (found, next) = index.floor(Lsn::new(frame * 10)).unwrap();
            assert!(found.offset <= frame * 4096);
            assert!(frame * 4096 - found.offset < 8 * 4096);
            assert!(next.is_none_or(|next| next.offset > frame * 4096));
        }
    }

    #[test]
    fn a_frame_that_found_no_space_is_forgotten() {
        let mut index = index(3);
        index.pop(8192, 100);
        assert_eq!(index.floor(Lsn::new(99)).unwrap().0.offset, 4096);
        assert_eq!((index.frames(), index.payload_bytes()), (2, 200));
    }
}
