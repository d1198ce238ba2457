//! Memory that starts on a block, as `O_DIRECT` wants it, without unsafe code.

/// Bytes of a block of the device and of a page.
pub(crate) const BLOCK: usize = 4096;

/// A growing buffer that starts on a block.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Room for `capacity` bytes, all zero.
    pub(crate) fn new(capacity: usize) -> Self {
        let storage = vec![0; capacity + BLOCK];
        let start = storage.as_ptr().align_offset(BLOCK);
        Aligned {
            storage,
            start,
            len: 0,
        }
    }

    /// Copies `bytes` behind what is there.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start + self.len + bytes.len() + BLOCK > self.storage.len() {
            let mut larger = Aligned::new((self.len + bytes.len()) * 2 + BLOCK);
            larger.push(self.filled());
            *self = larger;
        }
        let at = self.start + self.len;
        self.storage[at..at + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// What was pushed.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }

    /// What was pushed, zeros up to the end of its last block included.
    pub(crate) fn blocks(&mut self) -> &[u8] {
        let padded = self.len.next_multiple_of(BLOCK);
        self.storage[self.start + self.len..self.start + padded].fill(0);
        &self.storage[self.start..self.start + padded]
    }

    /// Bytes that were pushed.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets what was pushed.
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_block_also_after_growing() {
        let mut buffer = Aligned::default();
        for _ in 0..100 {
            buffer.push(&[7; 1000]);
        }
        assert_eq!(buffer.len(), 100_000);
        assert!(buffer.filled().iter().all(|byte| *byte == 7));
        let blocks = buffer.blocks();
        assert_eq!(blocks.as_ptr().align_offset(BLOCK), 0);
        assert_eq!(blocks.len(), 102_400);
        assert!(blocks[100_000..].iter().all(|byte| *byte == 0));
    }
}
