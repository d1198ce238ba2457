//! Appends that wait for a frame.
//!
//! Small ones are copied behind each other when they come, into memory that is allocated for many of
//! them at once. The frame takes them together without copying them again, and a caller need not allocate
//! what another thread would have to free: that costs an allocator more than the copy does (docs/SPEED.md).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use crate::Append;
use crate::append::{Chunks, Lengths};
use crate::frame::{ENTRY_BYTES, SMALL_CHUNK};
use crate::location::Placed;

/// So much is allocated at a time for small appends.
const TOGETHER: usize = 64 << 10;

/// One append, waiting to be framed.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) payload: Payload,
    pub(crate) lengths: Lengths,
    pub(crate) durable: bool,
    /// The caller wants to know where its records are.
    pub(crate) placed: Option<Arc<Placed>>,
}

/// An append's bytes.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Right behind those of the small append before, where there was room.
    Small(BytesMut),
    Chunks(Chunks),
}

/// Appends that are written in one frame.
#[derive(Debug, Default)]
pub(crate) struct Group(pub(crate) VecDeque<Queued>);

/// Appends in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    appends: VecDeque<Queued>,
    /// Room for the next small ones.
    room: BytesMut,
}

impl Queue {
    pub(crate) fn push(&mut self, append: Append<'_>, durable: bool, placed: Option<Arc<Placed>>) {
        let (payload, lengths) = match append.piece() {
            Some(piece) if piece.len() < SMALL_CHUNK => {
                (Payload::Small(self.copy(piece)), append.into_lengths())
            }
            _ => {
                let (chunks, lengths) = append.into_parts();
                (Payload::Chunks(chunks), lengths)
            }
        };
        self.appends.push_back(Queued {
            payload,
            lengths,
            durable,
            placed,
        });
    }

    fn copy(&mut self, piece: &[u8]) -> BytesMut {
        if self.room.capacity() < piece.len() {
            self.room = BytesMut::with_capacity(TOGETHER);
        }
        self.room.extend_from_slice(piece);
        self.room.split()
    }

    /// Cancels the newest append.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        self.appends.pop_back()
    }

    /// The newest first.
    pub(crate) fn newest(&self) -> impl Iterator<Item = &Queued> {
        self.appends.iter().rev()
    }

    /// Takes as much as fits, and at least one append.
    pub(crate) fn take(&mut self, most: u64) -> Group {
        let (mut count, mut bytes) = (0, 0);
        for append in &self.appends {
            bytes += append.weight();
            if count > 0 && bytes > most {
                break;
            }
            count += 1;
        }
        let mut rest = self.appends.split_off(count);
        if rest.is_empty() {
            rest.reserve(count.min(TOGETHER / size_of::<Queued>())); // the next group is like this one
        }
        Group(std::mem::replace(&mut self.appends, rest))
    }

    pub(crate) fn len(&self) -> usize {
        self.appends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }
}

impl Group {
    /// One append, of payload that is there.
    pub(crate) fn of(chunks: Chunks, lengths: Lengths, durable: bool) -> Self {
        let append = Queued {
            payload: Payload::Chunks(chunks),
            lengths,
            durable,
            placed: None,
        };
        Group([append].into())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many are to be durable.
    pub(crate) fn durable(&self) -> usize {
        self.0.iter().filter(|append| append.durable).count()
    }

    pub(crate) fn records(&self) -> u64 {
        let lengths = self.0.iter().map(|append| append.lengths.len());
        lengths.sum::<usize>() as u64
    }

    /// What all of them add to a frame.
    pub(crate) fn weight(&self) -> u64 {
        self.0.iter().map(Queued::weight).sum()
    }
}

impl Queued {
    /// Bytes that the append adds to a frame: payload and table.
    pub(crate) fn weight(&self) -> u64 {
        let payload = match &self.payload {
            Payload::Small(bytes) => bytes.len() as u64,
            Payload::Chunks(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        };
        payload + (self.lengths.len() * ENTRY_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(appends: &[usize]) -> Queue {
        let mut queue = Queue::default();
        for bytes in appends {
            queue.push(vec![0; *bytes].into(), false, None);
        }
        queue
    }

    fn lengths(group: &Group) -> Vec<u32> {
        group.0.iter().map(|append| append.lengths[0]).collect()
    }

    #[test]
    fn as_much_is_taken_as_fits_and_at_least_one() {
        let mut queue = queue(&[100, 5000, 100, 100]);
        assert_eq!(lengths(&queue.take(1)), [100]);
        let weight = 5000 + 100 + 2 * ENTRY_BYTES as u64;
        let group = queue.take(weight);
        assert_eq!((lengths(&group), group.weight()), (vec![5000, 100], weight));
        assert_eq!(lengths(&queue.take(weight)), [100]);
        assert!(queue.is_empty() && lengths(&queue.take(weight)).is_empty());
    }

    #[test]
    fn small_ones_stand_behind_each_other() {
        let group = queue(&[1000, 1000, 9000, 10]).take(u64::MAX);
        let ends = group.0.iter().filter_map(|append| match &append.payload {
            Payload::Small(bytes) => Some((bytes.as_ptr(), bytes.as_ptr_range().end)),
            Payload::Chunks(_) => None,
        });
        let ends: Vec<_> = ends.collect();
        assert_eq!((ends[0].1, ends[1].1), (ends[1].0, ends[2].0));
    }

    #[test]
    fn memory_is_taken_in_pieces_that_never_move() {
        let mut queue = queue(&[1000; 1000]);
        let held = queue.appends.iter().map(|append| match &append.payload {
            Payload::Small(bytes) => bytes.capacity(),
            Payload::Chunks(_) => 0,
        });
        assert_eq!(held.sum::<usize>(), 1000 * 1000, "no more than their bytes");
        assert!(queue.room.capacity() < TOGETHER);
        assert!(queue.pop().is_some());
    }
}
