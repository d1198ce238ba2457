//! An append: one or more records that appear in the log together or not at all (G3).
//!
//! Records are kept as a few large chunks and a list of lengths, not as a
//! `Vec` of buffers: a group of ten thousand small records costs one
//! allocation, and goes to storage as one slice.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Payload in order. One chunk needs no allocation besides its own.
pub(crate) type Chunks = SmallVec<[Bytes; 1]>;
/// The length of each record.
pub(crate) type Lengths = SmallVec<[u32; 2]>;

/// One or more records to be appended atomically.
///
/// Slices are copied, [`Bytes`] are taken without a copy.
///
/// ```
/// use bytes::Bytes;
/// use wal_core::Append;
/// let mut append = Append::new();
/// append.push(b"copied");
/// append.push_bytes(Bytes::from_static(b"not copied"));
/// assert_eq!((append.records(), append.bytes()), (2, 16));
/// // A single record, or several, convert by themselves:
/// let _: Append = "one".into();
/// let _: Append = ["one", "two"].into();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Append {
    chunks: Chunks,
    open: BytesMut,
    lengths: Lengths,
    bytes: u64,
    oversized: bool,
    located: bool,
}

impl Append {
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
        self.open.extend_from_slice(record);
        self.count(record.len());
    }

    /// Adds a record that is made of several parts, by copying them.
    pub fn push_parts(&mut self, parts: &[&[u8]]) {
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

    fn seal_chunk(&mut self) {
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

    /// The payload as chunks in order, and each record's length.
    pub(crate) fn into_parts(mut self) -> (Chunks, Lengths) {
        self.seal_chunk();
        (self.chunks, self.lengths)
    }
}

impl From<&[u8]> for Append {
    fn from(record: &[u8]) -> Self {
        Bytes::copy_from_slice(record).into()
    }
}

impl<const N: usize> From<&[u8; N]> for Append {
    fn from(record: &[u8; N]) -> Self {
        record.as_slice().into()
    }
}

impl From<&str> for Append {
    fn from(record: &str) -> Self {
        record.as_bytes().into()
    }
}

impl From<String> for Append {
    fn from(record: String) -> Self {
        Bytes::from(record).into()
    }
}

impl From<Vec<u8>> for Append {
    fn from(record: Vec<u8>) -> Self {
        Bytes::from(record).into()
    }
}

impl From<Bytes> for Append {
    fn from(record: Bytes) -> Self {
        let mut append = Append::new();
        append.push_bytes(record);
        append
    }
}

impl<T: AsRef<[u8]>, const N: usize> From<[T; N]> for Append {
    fn from(records: [T; N]) -> Self {
        records.iter().collect()
    }
}

impl<T: AsRef<[u8]>> FromIterator<T> for Append {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let mut append = Append::new();
        append.extend(records);
        append
    }
}

impl<T: AsRef<[u8]>> Extend<T> for Append {
    fn extend<I: IntoIterator<Item = T>>(&mut self, records: I) {
        for record in records {
            self.push(record.as_ref());
        }
    }
}
