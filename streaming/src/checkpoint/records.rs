//! The records of a checkpoint, byte by byte, and what each does to the state.
//!
//! ```text
//! every record
//!   u8      kind
//!   u8      version = 1
//!
//! kind 1, pipeline: what this checkpoint belongs to, from here on
//!   string  identity
//!   varint  number of settings; for each: string name, string value
//!
//! kind 2, plan: this batch will be run
//!   varint  batch identifier
//!   varint  number of ranges; for each, in order:
//!     string  topic
//!     varint  partition
//!     varint  first offset
//!     varint  number of offsets
//!
//! kind 3, done: the planned batch is in the sink
//!   varint  batch identifier
//!
//! kind 4, snapshot: everything that the records before lead to
//!   body of a pipeline
//!   varint  number of batches done, which is the next identifier
//!   positions (as in an envelope)
//!   u8      1 if a batch is planned and not done, then the body of its plan; otherwise 0
//! ```
//!
//! Varints and strings are those of the receiver's log.

use crate::codec::{Decoder, Malformed, put_positions, put_string, put_varint};
use crate::{Batch, OffsetRange, Partition, Positions};

const VERSION: u8 = 1;
const PIPELINE: u8 = 1;
const PLAN: u8 = 2;
const DONE: u8 = 3;
const SNAPSHOT: u8 = 4;

/// A record of the checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Record {
    Pipeline {
        identity: String,
        config: Vec<(String, String)>,
    },
    Plan(Batch),
    Done(u64),
    Snapshot(Snapshot),
}

/// What a checkpoint knows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Snapshot {
    pub(super) identity: String,
    pub(super) config: Vec<(String, String)>,
    /// Batches that are done; the identifier of the pending or next one.
    pub(super) done: u64,
    pub(super) positions: Positions,
    pub(super) pending: Option<Batch>,
}

impl Snapshot {
    /// Takes the step that `record` describes, if it can follow on this state.
    pub(super) fn apply(&mut self, record: Record) -> Result<(), Malformed> {
        match record {
            Record::Pipeline { identity, config } => {
                (self.identity, self.config) = (identity, config);
            }
            Record::Plan(batch) => {
                if self.pending.is_some() {
                    return Err("a batch is planned although another one is not done");
                }
                if batch.id != self.done {
                    return Err("a batch is planned out of order");
                }
                self.pending = Some(batch);
            }
            Record::Done(id) => {
                let Some(batch) = self.pending.take_if(|batch| batch.id == id) else {
                    return Err("a batch is done that was not planned");
                };
                for range in &batch.ranges {
                    self.positions.advance(&range.partition, range.until);
                }
                self.done = self.done.saturating_add(1);
            }
            Record::Snapshot(snapshot) => *self = snapshot,
        }
        Ok(())
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Record::Pipeline { identity, config } => {
                out.extend_from_slice(&[PIPELINE, VERSION]);
                put_pipeline(&mut out, identity, config);
            }
            Record::Plan(batch) => {
                out.extend_from_slice(&[PLAN, VERSION]);
                put_plan(&mut out, batch);
            }
            Record::Done(id) => {
                out.extend_from_slice(&[DONE, VERSION]);
                put_varint(&mut out, *id);
            }
            Record::Snapshot(snapshot) => {
                out.extend_from_slice(&[SNAPSHOT, VERSION]);
                put_pipeline(&mut out, &snapshot.identity, &snapshot.config);
                put_varint(&mut out, snapshot.done);
                put_positions(&mut out, &snapshot.positions);
                out.push(u8::from(snapshot.pending.is_some()));
                if let Some(batch) = &snapshot.pending {
                    put_plan(&mut out, batch);
                }
            }
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = Decoder::new(bytes);
        let kind = decoder.byte()?;
        if decoder.byte()? != VERSION {
            return Err("it has a newer version than this program knows, upgrade it");
        }
        let record = match kind {
            PIPELINE => {
                let (identity, config) = pipeline(&mut decoder)?;
                Record::Pipeline { identity, config }
            }
            PLAN => Record::Plan(plan(&mut decoder)?),
            DONE => Record::Done(decoder.varint()?),
            SNAPSHOT => Record::Snapshot(snapshot(&mut decoder)?),
            _ => return Err("it is of an unknown kind"),
        };
        decoder.end()?;
        Ok(record)
    }
}

fn put_pipeline(out: &mut Vec<u8>, identity: &str, config: &[(String, String)]) {
    put_string(out, identity);
    put_varint(out, config.len() as u64);
    for (name, value) in config {
        put_string(out, name);
        put_string(out, value);
    }
}

fn put_plan(out: &mut Vec<u8>, batch: &Batch) {
    put_varint(out, batch.id);
    put_varint(out, batch.ranges.len() as u64);
    for range in &batch.ranges {
        put_string(out, range.partition.topic());
        put_varint(out, u64::from(range.partition.index()));
        put_varint(out, range.from);
        put_varint(out, range.until.saturating_sub(range.from));
    }
}

type Pipeline = (String, Vec<(String, String)>);

fn pipeline(decoder: &mut Decoder<'_>) -> Result<Pipeline, Malformed> {
    let identity = decoder.string()?.to_owned();
    let mut config = Vec::new();
    for _ in 0..decoder.varint()? {
        let name = decoder.string()?.to_owned();
        config.push((name, decoder.string()?.to_owned()));
    }
    Ok((identity, config))
}

fn plan(decoder: &mut Decoder<'_>) -> Result<Batch, Malformed> {
    let id = decoder.varint()?;
    let mut ranges: Vec<OffsetRange> = Vec::new();
    let mut topic = Partition::new("", 0);
    for _ in 0..decoder.varint()? {
        let name = decoder.string()?;
        if topic.topic() != name {
            topic = Partition::new(name, 0);
        }
        let partition = topic.sibling(decoder.small()?);
        let from = decoder.varint()?;
        let until = from
            .checked_add(decoder.varint()?)
            .ok_or("a range is too long")?;
        ranges.push(OffsetRange {
            partition,
            from,
            until,
        });
    }
    Ok(Batch { id, ranges })
}

fn snapshot(decoder: &mut Decoder<'_>) -> Result<Snapshot, Malformed> {
    let (identity, config) = pipeline(decoder)?;
    let done = decoder.varint()?;
    let mut positions = Positions::default();
    for (partition, next) in decoder.positions()? {
        positions.advance(&partition, next);
    }
    let pending = match decoder.byte()? {
        0 => None,
        1 => Some(plan(decoder)?),
        _ => return Err("it does not say whether a batch is planned"),
    };
    Ok(Snapshot {
        identity,
        config,
        done,
        positions,
        pending,
    })
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn any_batch() -> impl Strategy<Value = Batch> {
        let range = ("[a-c]{0,2}", any::<u32>(), any::<u64>(), any::<u64>());
        (any::<u64>(), vec(range, 0..8)).prop_map(|(id, ranges)| Batch {
            id,
            ranges: ranges
                .into_iter()
                .map(|(topic, index, one, other)| OffsetRange {
                    partition: Partition::new(topic, index),
                    from: one.min(other),
                    until: one.max(other),
                })
                .collect(),
        })
    }

    fn any_record() -> impl Strategy<Value = Record> {
        let config = || vec((any::<String>(), any::<String>()), 0..4);
        let places = btree_map(("[a-c]{1,2}", any::<u32>()), any::<u64>(), 0..9);
        prop_oneof![
            (any::<String>(), config())
                .prop_map(|(identity, config)| Record::Pipeline { identity, config }),
            any_batch().prop_map(Record::Plan),
            any::<u64>().prop_map(Record::Done),
            (
                any::<String>(),
                config(),
                any::<u64>(),
                places,
                option::of(any_batch())
            )
                .prop_map(|(identity, config, done, places, pending)| {
                    let mut positions = Positions::default();
                    for ((topic, index), next) in places {
                        positions.advance(&Partition::new(topic, index), next);
                    }
                    Record::Snapshot(Snapshot {
                        identity,
                        config,
                        done,
                        positions,
                        pending,
                    })
                }),
        ]
    }

    /// G11: the bytes of version 1, written out; they never change.
    #[test]
    fn version_1_is_these_bytes() {
        let batch = Batch {
            id: 2,
            ranges: vec![OffsetRange {
                partition: Partition::new("t", 1),
                from: 10,
                until: 300,
            }],
        };
        let mut positions = Positions::default();
        positions.advance(&Partition::new("t", 1), 10);
        let config = vec![("a".to_owned(), "b".to_owned())];
        let golden: [(Record, &[u8]); 4] = [
            (
                Record::Pipeline {
                    identity: "id".into(),
                    config: config.clone(),
                },
                b"\x01\x01\x02id\x01\x01a\x01b",
            ),
            (
                Record::Plan(batch.clone()),
                b"\x02\x01\x02\x01\x01t\x01\x0a\xa2\x02",
            ),
            (Record::Done(2), b"\x03\x01\x02"),
            (
                Record::Snapshot(Snapshot {
                    identity: "id".into(),
                    config,
                    done: 2,
                    positions,
                    pending: Some(batch),
                }),
                b"\x04\x01\x02id\x01\x01a\x01b\x02\x01\x01t\x01\x01\x0a\x01\x02\x01\x01t\x01\x0a\xa2\x02",
            ),
        ];
        for (record, bytes) in golden {
            assert_eq!(record.encode(), bytes);
            assert_eq!(Record::decode(bytes), Ok(record));
        }
    }

    proptest! {
        #[test]
        fn every_record_comes_back(record in any_record()) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(kind in 0_u8..6, tail in vec(any::<u8>(), 0..200)) {
            let mut state = Snapshot::default();
            if let Ok(record) = Record::decode(&[vec![kind, VERSION], tail].concat()) {
                let _ = state.apply(record);
            }
        }

        #[test]
        fn a_damaged_record_never_panics(record in any_record(), at: prop::sample::Index, with: u8) {
            let mut bytes = record.encode();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = Record::decode(&bytes);
        }
    }
}
