//! Bytes of this crate's formats: single bytes, varints, strings, positions.
//!
//! A *varint* is an unsigned number in groups of seven bits, lowest first, the
//! top bit of each byte saying that another follows; at most ten bytes. A
//! *string* is a varint length and that many bytes of UTF-8.
//!
//! Reading is safe on any bytes: nothing panics, and no number that was read
//! sizes an allocation. Lists are grown item by item, and every item takes at
//! least a byte, so memory stays proportional to the input (G9).

use crate::{Partition, Positions};
use wal_core::planted::planted;

/// Why bytes could not be understood.
pub(crate) type Malformed = &'static str;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

pub(crate) fn put_string(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Positions, grouped by topic: number of topics; for each its name, its number
/// of partitions, and for each of those its index and next offset.
pub(crate) fn put_positions(out: &mut Vec<u8>, positions: &Positions) {
    let mut topics: Vec<(&str, Vec<(u32, u64)>)> = Vec::new();
    for (partition, next) in positions.iter() {
        match topics.last_mut() {
            Some((topic, places)) if *topic == partition.topic() => {
                places.push((partition.index(), next));
            }
            _ => topics.push((partition.topic(), vec![(partition.index(), next)])),
        }
    }
    put_varint(out, topics.len() as u64);
    for (topic, places) in topics {
        put_string(out, topic);
        put_varint(out, places.len() as u64);
        for (index, next) in places {
            put_varint(out, u64::from(index));
            put_varint(out, next);
        }
    }
}

/// Reads from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Decoder { rest: bytes }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.rest.split_first().ok_or("it ends too early")?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number is too large");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number is too long")
    }

    pub(crate) fn small(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| "a number is too large")
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| "a length is too large")?;
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("a length goes beyond the end")?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.varint()?;
        std::str::from_utf8(self.bytes(length)?).map_err(|_| "a text is not UTF-8")
    }

    /// Partitions in the order in which they were stored, each with its next offset.
    pub(crate) fn positions(&mut self) -> Result<Vec<(Partition, u64)>, Malformed> {
        let mut places = Vec::new();
        if planted("number-of-positions-believed") {
            let mut ahead = *self;
            places.reserve(usize::try_from(ahead.varint()?).unwrap_or(0).min(1 << 28));
        }
        for _ in 0..self.varint()? {
            let topic = Partition::new(self.string()?, 0);
            for _ in 0..self.varint()? {
                let index = self.small()?;
                places.push((topic.sibling(index), self.varint()?));
            }
        }
        Ok(places)
    }

    /// What is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Makes sure that nothing is left.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err("bytes are left over at its end")
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_texts_come_back(number: u64, text: String) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            put_string(&mut bytes, &text);
            let mut decoder = Decoder::new(&bytes);
            prop_assert_eq!(decoder.varint(), Ok(number));
            prop_assert_eq!(decoder.string(), Ok(text.as_str()));
            prop_assert_eq!(decoder.end(), Ok(()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Decoder::new(&bytes).positions();
            let _ = Decoder::new(&bytes).string();
            let _ = Decoder::new(&bytes).small();
        }
    }

    #[test]
    fn an_overlong_number_is_refused() {
        assert!(Decoder::new(&[0xff; 10]).varint().is_err());
        assert!(Decoder::new(&[0x80; 20]).varint().is_err());
        let mut largest = Vec::new();
        put_varint(&mut largest, u64::MAX);
        assert_eq!(Decoder::new(&largest).varint(), Ok(u64::MAX));
    }
}
