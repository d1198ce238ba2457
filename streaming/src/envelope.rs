//! How a receiver's block lies in its log.
//!
//! A block is one atomic append (G3): one *data record* for every record of the
//! source, then one *envelope*. The envelope stands last because it says where
//! the block has arrived: the positions of **all** partitions that the receiver
//! ever read, not only of those in this block. So every block is a snapshot;
//! the newest segment of a log is never deleted; and therefore the positions
//! survive every release (S2).
//!
//! ```text
//! data record
//!   u8      kind = 1
//!   varint  partition: index into the envelope's table
//!   varint  offset in the source
//!   varint  0 = no key, otherwise length of the key + 1
//!   bytes   key
//!   bytes   value, up to the end of the record
//!
//! envelope
//!   u8      kind = 2
//!   u8      version = 1
//!   varint  number of data records in this block
//!   positions after this block:
//!     varint  number of topics; for each, in ascending order:
//!       string  name (varint length, UTF-8)
//!       varint  number of partitions; for each, in ascending order:
//!         varint  index
//!         varint  next offset to read
//!   table of the partitions in this block:
//!     varint  number of entries; for each:
//!       varint  which of the positions above, counted from 0
//! ```
//!
//! Numbers are varints: seven bits a byte, lowest first, top bit set if another
//! byte follows. The log's checksums cover the records, so there is none here.
//! A reader refuses an unknown kind or version, an index outside the table, a
//! count that does not match, and bytes that are left over.

use crate::codec::{Decoder, Malformed, put_positions, put_varint};
use crate::{Partition, Positions, RecordRef};

const DATA: u8 = 1;
const ENVELOPE: u8 = 2;
const VERSION: u8 = 1;

/// A record of a receiver's log, decoded.
#[derive(Debug)]
pub(crate) enum LogRecord<'a> {
    Data(Data<'a>),
    Envelope(Envelope),
}

/// A data record; which partition it means is in its block's envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Data<'a> {
    pub(crate) table_index: u32,
    pub(crate) offset: u64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
}

/// The end of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Envelope {
    /// Data records in this block.
    pub(crate) records: u64,
    /// The positions of all partitions once this block is stored.
    pub(crate) positions: Positions,
    /// The partitions in this block.
    pub(crate) table: Vec<Partition>,
}

/// Writes what stands before the key into `out`.
pub(crate) fn put_data_header(out: &mut Vec<u8>, table_index: u32, record: &RecordRef<'_>) {
    out.push(DATA);
    put_varint(out, u64::from(table_index));
    put_varint(out, record.offset);
    put_varint(out, record.key.map_or(0, |key| key.len() as u64 + 1));
}

impl Envelope {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![ENVELOPE, VERSION];
        put_varint(&mut out, self.records);
        put_positions(&mut out, &self.positions);
        put_varint(&mut out, self.table.len() as u64);
        for partition in &self.table {
            let ordinal = self.positions.iter().take_while(|(p, _)| *p != partition);
            put_varint(&mut out, ordinal.count() as u64);
        }
        out
    }

    fn decode(mut decoder: Decoder<'_>) -> Result<Self, Malformed> {
        if decoder.byte()? != VERSION {
            return Err("its envelope has a newer version; upgrade this program");
        }
        let records = decoder.varint()?;
        let places = decoder.positions()?;
        let mut table = Vec::new();
        for _ in 0..decoder.varint()? {
            let ordinal = usize::try_from(decoder.varint()?).unwrap_or(usize::MAX);
            let (partition, _) = places.get(ordinal).ok_or("its table names no partition")?;
            table.push(partition.clone());
        }
        decoder.end()?;
        let mut positions = Positions::default();
        for (partition, next) in &places {
            positions.advance(partition, *next);
        }
        Ok(Envelope {
            records,
            positions,
            table,
        })
    }
}

impl<'a> LogRecord<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes);
        match decoder.byte()? {
            DATA => Data::decode(decoder).map(LogRecord::Data),
            ENVELOPE => Envelope::decode(decoder).map(LogRecord::Envelope),
            _ => Err("it is not a record of a receiver; is this a receiver's log?"),
        }
    }
}

impl<'a> Data<'a> {
    fn decode(mut decoder: Decoder<'a>) -> Result<Self, Malformed> {
        let table_index = decoder.small()?;
        let offset = decoder.varint()?;
        let key = match decoder.varint()? {
            0 => None,
            length => Some(decoder.bytes(length - 1)?),
        };
        Ok(Data {
            table_index,
            offset,
            key,
            value: decoder.rest(),
        })
    }

    /// The record as the source showed it.
    pub(crate) fn resolve<'b>(&self, table: &'b [Partition]) -> Result<RecordRef<'b>, Malformed>
    where
        'a: 'b,
    {
        let index = usize::try_from(self.table_index).unwrap_or(usize::MAX);
        Ok(RecordRef {
            partition: table
                .get(index)
                .ok_or("its partition is not in its block's table")?,
            offset: self.offset,
            key: self.key,
            value: self.value,
        })
    }
}

/// Whether this is an envelope, without decoding it.
pub(crate) fn is_envelope(bytes: &[u8]) -> bool {
    bytes.first() == Some(&ENVELOPE)
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..40)
    }

    proptest! {
        #[test]
        fn a_data_record_comes_back(
            table_index: u32, offset: u64, key in option::of(any_bytes()), value in any_bytes(),
        ) {
            let partition = Partition::new("t", 0);
            let record = RecordRef {
                partition: &partition, offset, key: key.as_deref(), value: &value,
            };
            let mut bytes = Vec::new();
            put_data_header(&mut bytes, table_index, &record);
            bytes.extend_from_slice(key.as_deref().unwrap_or_default());
            bytes.extend_from_slice(&value);
            let Ok(LogRecord::Data(data)) = LogRecord::decode(&bytes) else { panic!("no data") };
            prop_assert_eq!(data, Data { table_index, offset, key: key.as_deref(), value: &value });
        }

        #[test]
        fn an_envelope_comes_back(
            places in btree_map(("[a-c]{1,2}", any::<u32>()), any::<u64>(), 1..20),
            used in vec(any::<prop::sample::Index>(), 0..10),
            records: u64,
        ) {
            let mut positions = Positions::default();
            for ((topic, index), next) in &places {
                positions.advance(&Partition::new(topic.as_str(), *index), *next);
            }
            let all: Vec<_> = positions.iter().map(|(p, _)| p.clone()).collect();
            let table = used.iter().map(|index| index.get(&all).clone()).collect();
            let envelope = Envelope { records, positions, table };
            let bytes = envelope.encode();
            prop_assert!(is_envelope(&bytes));
            let Ok(LogRecord::Envelope(found)) = LogRecord::decode(&bytes) else {
                panic!("no envelope")
            };
            prop_assert_eq!(found, envelope);
        }

        #[test]
        fn arbitrary_bytes_never_panic(kind in 0_u8..4, version in 0_u8..3, tail in vec(any::<u8>(), 0..200)) {
            let bytes = [vec![kind, version], tail].concat();
            if let Ok(LogRecord::Data(data)) = LogRecord::decode(&bytes) {
                let _ = data.resolve(&[]);
            }
        }
    }

    /// G11: the bytes of version 1, written out; they never change.
    #[test]
    fn version_1_is_these_bytes() {
        let partition = Partition::new("t", 300);
        let record = RecordRef {
            partition: &partition,
            offset: 129,
            key: Some(b"k"),
            value: b"value",
        };
        let mut data = Vec::new();
        put_data_header(&mut data, 0, &record);
        assert_eq!(data, [1, 0, 0x81, 1, 2]);

        let mut positions = Positions::default();
        positions.advance(&Partition::new("s", 0), 7);
        positions.advance(&partition, 130);
        let envelope = Envelope {
            records: 1,
            positions,
            table: vec![partition],
        };
        let bytes = b"\x02\x01\x01\x02\x01s\x01\x00\x07\x01t\x01\xac\x02\x82\x01\x01\x01";
        assert_eq!(envelope.encode(), bytes);
        let read = LogRecord::decode(bytes);
        assert!(matches!(read, Ok(LogRecord::Envelope(found)) if found == envelope));
    }

    #[test]
    fn a_newer_version_is_refused() {
        let refused = LogRecord::decode(&[ENVELOPE, 2, 0, 0, 0]);
        assert!(refused.is_err_and(|reason| reason.contains("upgrade")));
    }
}
