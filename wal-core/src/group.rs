//! Appends that wait for a frame, and those that were taken for one.
//!
//! The payload of small appends is copied into one buffer when they come. The frame takes that buffer
//! as it is, and what the caller had to allocate is given back by the caller's own thread: memory that
//! one thread asks for and another gives back costs an allocator more than the copy does
//! (docs/SPEED.md).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use crate::Append;
use crate::append::{Chunks, Lengths};
use crate::frame::{ENTRY_BYTES, SMALL_CHUNK};
use crate::location::Placed;
use crate::planted::planted;

/// No more than this is set aside for the next group's small appends, whatever the last one had.
const AHEAD: usize = 64 << 10;

/// One append, waiting to be framed.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) payload: Payload,
    pub(crate) lengths: Lengths,
    pub(crate) durable: bool,
    /// The caller wants to know where its records are.
    pub(crate) placed: Option<Arc<Placed>>,
}

/// Where an append's payload is.
#[derive(Debug)]
pub(crate) enum Payload {
    /// So many bytes, in the group's buffer.
    Gathered(usize),
    Chunks(Chunks),
}

/// Appends in order.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) appends: VecDeque<Queued>,
    /// The payload of small ones, in the same order.
    pub(crate) gathered: BytesMut,
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
        Group {
            appends: [append].into(),
            gathered: BytesMut::new(),
        }
    }

    pub(crate) fn push(&mut self, append: Append<'_>, durable: bool, placed: Option<Arc<Placed>>) {
        let (payload, lengths) = match append.piece() {
            Some(piece) if piece.len() < SMALL_CHUNK => {
                self.gathered.extend_from_slice(piece);
                (Payload::Gathered(piece.len()), append.into_lengths())
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

    /// Cancels the newest append.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let append = self.appends.pop_back()?;
        if !planted("cancelled-payload-kept") {
            let kept = self.gathered.len().saturating_sub(append.gathered());
            self.gathered.truncate(kept);
        }
        Some(append)
    }

    /// Takes as much as fits, and at least one append.
    pub(crate) fn take(&mut self, most: u64) -> Group {
        let (mut count, mut bytes, mut gathered) = (0, 0, 0);
        for append in &self.appends {
            bytes += append.weight();
            if count > 0 && bytes > most {
                break;
            }
            gathered += append.gathered();
            count += 1;
        }
        if count < self.appends.len() {
            let rest = self.appends.split_off(count);
            return Group {
                appends: std::mem::replace(&mut self.appends, rest),
                gathered: self.gathered.split_to(gathered),
            };
        }
        let next = Group {
            appends: VecDeque::with_capacity(count.min(AHEAD / size_of::<Queued>())),
            gathered: BytesMut::with_capacity(gathered.min(AHEAD)),
        };
        std::mem::replace(self, next)
    }

    pub(crate) fn len(&self) -> usize {
        self.appends.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    pub(crate) fn records(&self) -> u64 {
        let lengths = self.appends.iter().map(|append| append.lengths.len());
        lengths.sum::<usize>() as u64
    }

    /// What all appends add to a frame.
    pub(crate) fn weight(&self) -> u64 {
        self.appends.iter().map(Queued::weight).sum()
    }
}

impl Queued {
    fn gathered(&self) -> usize {
        match &self.payload {
            Payload::Gathered(bytes) => *bytes,
            Payload::Chunks(_) => 0,
        }
    }

    /// Bytes that the append adds to a frame: payload and table.
    pub(crate) fn weight(&self) -> u64 {
        let payload = match &self.payload {
            Payload::Gathered(bytes) => *bytes as u64,
            Payload::Chunks(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        };
        payload + (self.lengths.len() * ENTRY_BYTES) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(appends: &[usize]) -> Group {
        let mut group = Group::default();
        for (number, bytes) in appends.iter().enumerate() {
            let byte = u8::try_from(number).unwrap();
            group.push(vec![byte; *bytes].into(), false, None);
        }
        group
    }

    /// First byte and length of each append's payload.
    fn payloads(mut group: Group) -> Vec<(u8, usize)> {
        let mut found = Vec::new();
        for append in group.appends {
            let payload = match append.payload {
                Payload::Gathered(bytes) => group.gathered.split_to(bytes).freeze(),
                Payload::Chunks(chunks) => chunks[0].clone(),
            };
            assert!(payload.iter().all(|byte| *byte == payload[0]));
            found.push((payload[0], payload.len()));
        }
        assert!(group.gathered.is_empty());
        found
    }

    #[test]
    fn what_is_taken_takes_its_small_payload_along() {
        let (small, large) = (1000, SMALL_CHUNK);
        let mut waiting = group(&[small, large, small, small, large]);
        let weight = waiting.appends.iter().take(3).map(Queued::weight).sum();
        let taken = waiting.take(weight);
        assert_eq!(payloads(taken), [(0, small), (1, large), (2, small)]);
        assert_eq!(payloads(waiting.take(u64::MAX)), [(3, small), (4, large)]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn one_is_taken_however_large() {
        let mut waiting = group(&[100, 100]);
        assert_eq!(payloads(waiting.take(1)), [(0, 100)]);
    }

    #[test]
    fn what_is_cancelled_leaves_nothing_behind() {
        let mut waiting = group(&[10, SMALL_CHUNK, 20, 30]);
        for _ in 0..3 {
            waiting.pop();
        }
        waiting.push(vec![9; 5].into(), false, None);
        assert_eq!(payloads(waiting), [(0, 10), (9, 5)]);
    }
}
