//! An append: one or more records that appear in the log together or not at all (G3).
//!
//! Records are kept as a few large chunks and a list of lengths, not as a
//! `Vec` of buffers: a group of ten thousand small records costs one
//! allocation, and goes to storage as one slice.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::frame::SMALL_CHUNK;

/// Payload in order. One chunk needs no allocation besides its own.
pub(crate) type Chunks = SmallVec<[Bytes; 1]>;
/// The length of each record.
pub(crate) type Lengths = SmallVec<[u32; 2]>;

/// One or more records to be appended atomically.
///
/// Slices are copied, [`Bytes`] are taken without a copy. A single slice (`'a`) of less than 4 KiB is
/// copied once only, straight to where the log gathers what comes for the next frame.
///
/// ```
/// use bytes::Bytes;
/// use wal_core::Append;
/// let mut append = Append::new();
/// append.push(b"copied");
/// append.push_bytes(Bytes::from_static(b"not copied"));
/// assert_eq!((append.records(), append.bytes()), (2, 16));
/// // A single record, or several, convert by themselves:
/// let _: Append<'_> = "one".into();
/// let _: Append<'static> = ["one", "two"].into();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Append<'a> {
    /// A single record, or nothing; it stands before the chunks.
    borrowed: &'a [u8],
    chunks: Chunks,
    open: BytesMut,
    lengths: Lengths,
    bytes: u64,
    oversized: bool,
    located: bool,
}

impl<'a> Append<'a> {
    /// No records yet.
    #[must_use]
    pub fn new() -> Self {
        Append::default()
    }

    /// No records yet, with room for `bytes` of copied payload and `records` records.
    #[must_use]
    pub fn with_capacity(bytes: usize, records: usize) -> Self {
        Append {
            open: BytesMut::with_capacity(bytes),
            lengths: Lengths::with_capacity(records),
            ..Append::default()
        }
    }

    /// Adds a record by copying it.
    pub fn push(&mut self, record: &[u8]) {
        self.own();
        self.open.extend_from_slice(record);
        self.count(record.len());
    }

    /// Adds a record that is made of several parts, by copying them.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
        self.own();
        for part in parts {
            self.open.extend_from_slice(part);
        }
        self.count(parts.iter().map(|part| part.len()).sum());
    }

    /// Adds a record without copying it.
    pub fn push_bytes(&mut self, record: Bytes) {
        self.seal_chunk();
        self.count(record.len());
        if !record.is_empty() {
            self.chunks.push(record);
        }
    }

    /// Asks for the [`Location`](crate::Location) of each record: see
    /// [`Commit::wait_located`](crate::Commit::wait_located).
    #[must_use]
    pub fn located(mut self) -> Self {
        self.located = true;
        self
    }

    /// Number of records.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.lengths.len() as u64
    }

    /// Bytes of all records together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    fn count(&mut self, length: usize) {
        self.bytes = self.bytes.saturating_add(length as u64);
        match u32::try_from(length) {
            Ok(length) => self.lengths.push(length),
            Err(_) => {
                self.oversized = true;
                self.lengths.push(u32::MAX);
            }
        }
    }

    /// Makes the append independent of what it was made from.
    fn own(&mut self) {
        if !self.borrowed.is_empty() {
            self.open
                .extend_from_slice(std::mem::take(&mut self.borrowed));
        }
    }

    fn seal_chunk(&mut self) {
        self.own();
        if !self.open.is_empty() {
            self.chunks.push(std::mem::take(&mut self.open).freeze());
        }
    }

    /// Whether a record is longer than the format can say (4 GiB).
    pub(crate) fn oversized(&self) -> bool {
        self.oversized
    }

    pub(crate) fn is_located(&self) -> bool {
        self.located
    }

    /// The payload of an append that is all in one piece, if that is so.
    pub(crate) fn piece(&self) -> Option<&[u8]> {
        match (self.borrowed, &self.open[..], self.chunks.as_slice()) {
            ([], [], [chunk]) => Some(chunk),
            ([], open, []) => Some(open),
            (borrowed, [], []) => Some(borrowed),
            _ => None,
        }
    }

    pub(crate) fn into_lengths(self) -> Lengths {
        self.lengths
    }

    /// The payload as chunks in order, and each record's length.
    pub(crate) fn into_parts(mut self) -> (Chunks, Lengths) {
        self.seal_chunk();
        (self.chunks, self.lengths)
    }
}

impl<'a> From<&'a [u8]> for Append<'a> {
    fn from(record: &'a [u8]) -> Self {
        if record.len() >= SMALL_CHUNK {
            return Bytes::copy_from_slice(record).into();
        }
        let mut append = Append::new();
        append.count(record.len());
        append.borrowed = record;
        append
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Append<'a> {
    fn from(record: &'a [u8; N]) -> Self {
        record.as_slice().into()
    }
}

impl<'a> From<&'a str> for Append<'a> {
    fn from(record: &'a str) -> Self {
        record.as_bytes().into()
    }
}

impl From<String> for Append<'_> {
    fn from(record: String) -> Self {
        Bytes::from(record).into()
    }
}

impl From<Vec<u8>> for Append<'_> {
    fn from(record: Vec<u8>) -> Self {
        Bytes::from(record).into()
    }
}

impl From<Bytes> for Append<'_> {
    fn from(record: Bytes) -> Self {
        let mut append = Append::new();
        append.push_bytes(record);
        append
    }
}

impl<T: AsRef<[u8]>, const N: usize> From<[T; N]> for Append<'_> {
    fn from(records: [T; N]) -> Self {
        records.iter().collect()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Append<'_> {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let mut append = Append::new();
        append.extend(records);
        append
    }
}

impl<T: AsRef<[u8]>> Extend<T> for Append<'_> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, records: I) {
        for record in records {
            self.push(record.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an append holds, as one piece of memory.
    fn payload(append: Append<'_>) -> (Vec<u8>, Vec<u32>) {
        let (chunks, lengths) = append.into_parts();
        (chunks.concat(), lengths.to_vec())
    }

    #[test]
    fn a_borrowed_record_stays_before_those_that_are_added() {
        for way in 0..4 {
            let mut append = Append::from("first");
            match way {
                0 => append.push(b"second"),
                1 => append.push_parts(&[b"sec", b"ond"]),
                2 => append.push_bytes(Bytes::from_static(b"second")),
                _ => append.extend(["second"]),
            }
            assert_eq!((append.records(), append.bytes()), (2, 11));
            assert!(way == 2 || append.piece() == Some(b"firstsecond"));
            assert_eq!(payload(append), (b"firstsecond".to_vec(), vec![5, 6]));
        }
    }

    #[test]
    fn a_piece_is_all_there_is() {
        let long = vec![7; SMALL_CHUNK];
        assert_eq!(Append::from(&long[..]).piece(), Some(&long[..]));
        assert_eq!(Append::from("x").piece(), Some(&b"x"[..]));
        assert_eq!(Append::from("").piece(), Some(&b""[..]));
        assert_eq!(Append::from("").records(), 1);
        let mut several = Append::from(Bytes::from_static(b"a"));
        assert_eq!(several.piece(), Some(&b"a"[..]));
        several.push(b"b");
        assert_eq!(several.piece(), None);
        assert_eq!(payload(several), (b"ab".to_vec(), vec![1, 1]));
    }
}
