//! The two sums of the format: CRC-32C over bytes, and the chain over records.
//!
//! Both are pinned by `docs/FORMAT.md`; changing one is a new format version.

use crc_fast::{CrcAlgorithm, Digest};

use crate::Lsn;

/// CRC-32C (Castagnoli) of `bytes`.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc_more(0, bytes)
}

/// CRC-32C of what `sum` already covers, followed by `bytes`.
pub(crate) fn crc_more(sum: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!sum));
    digest.update(bytes);
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// CRC-32C of a record, seeded with its LSN: the same bytes at another place of
/// the log have another sum, so that a record that was moved never passes.
pub(crate) fn record_crc(lsn: Lsn, payload: &[u8]) -> u32 {
    RecordSums::new().of(lsn, payload)
}

/// The sums of many records: a digest holds a table, which would be copied for each.
pub(crate) struct RecordSums(Digest);

impl RecordSums {
    pub(crate) fn new() -> Self {
        RecordSums(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// As [`record_crc`].
    pub(crate) fn of(&mut self, lsn: Lsn, payload: &[u8]) -> u32 {
        self.0.reset();
        self.0.update(&lsn.get().to_le_bytes());
        self.0.update(payload);
        u32::try_from(self.0.finalize()).unwrap_or_default()
    }
}

/// The chain value before the first record of a log.
pub(crate) const CHAIN_START: u64 = 0;

/// The chain value after a record of `length` bytes with checksum `crc`.
///
/// The mixer is the 64-bit finalizer of MurmurHash3 (Appleby, public domain):
/// a bijection of the running value for every (length, crc), so that one
/// different record makes every later value different, until 2^-64 chance.
pub(crate) fn chain(before: u64, length: u32, crc: u32) -> u64 {
    let record = (u64::from(length) << 32) | u64::from(crc);
    mix(before ^ mix(record.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

fn mix(mut value: u64) -> u64 {
    value ^= value >> 33;
    value = value.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    value ^= value >> 33;
    value = value.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    value ^ (value >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_castagnoli() {
        assert_eq!(crc(b"123456789"), 0xE306_9283);
        assert_eq!(crc(&[0; 4096]), 0x98F9_4189);
        assert_eq!(crc_more(crc(b"1234"), b"56789"), crc(b"123456789"));
    }

    #[test]
    fn another_crate_computes_the_same_whatever_the_length() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2000).collect();
        for length in 0..bytes.len() {
            let (bytes, sum) = (&bytes[..length], u32::try_from(length).unwrap());
            assert_eq!(crc_more(sum, bytes), crc32c::crc32c_append(sum, bytes));
        }
    }

    #[test]
    fn a_record_is_summed_with_its_lsn() {
        let (lsn, payload) = (Lsn::new(7), b"payload".as_slice());
        let one_by_one = crc_more(crc(&lsn.get().to_le_bytes()), payload);
        assert_eq!(record_crc(lsn, payload), one_by_one);
        let mut sums = RecordSums::new();
        assert_ne!(sums.of(Lsn::new(8), payload), one_by_one);
        assert_eq!(sums.of(lsn, payload), one_by_one, "of this record alone");
    }

    #[test]
    fn a_record_at_another_lsn_has_another_sum() {
        assert_ne!(record_crc(Lsn::new(1), b"x"), record_crc(Lsn::new(2), b"x"));
    }

    #[test]
    fn the_chain_depends_on_every_record_and_its_place() {
        let ab = chain(chain(CHAIN_START, 1, 10), 1, 20);
        let ba = chain(chain(CHAIN_START, 1, 20), 1, 10);
        assert_ne!(ab, ba);
        assert_ne!(chain(CHAIN_START, 0, 0), CHAIN_START);
    }
}
