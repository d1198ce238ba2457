//! What tells one record from all others: its sequence number (loaded records) or its
//! partition and offset (an existing topic). Sinks write it, `compare` counts it.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use wal_streaming::{Format, RecordRef};

/// All records that every arm must deliver, numbered from 0.
#[derive(Clone, Debug)]
pub(crate) enum Identities {
    /// Loaded by the harness: the sequence numbers below this.
    Sequence(u64),
    /// Found in an existing topic.
    Offsets(Offsets),
}

/// Which identity a sink writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Identity {
    /// The sequence number in the key.
    Sequence,
    /// Partition and offset.
    Offset,
}

impl Identities {
    pub(crate) fn identity(&self) -> Identity {
        match self {
            Identities::Sequence(_) => Identity::Sequence,
            Identities::Offsets(_) => Identity::Offset,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Identities::Sequence(records) => *records,
            Identities::Offsets(offsets) => offsets.records,
        }
    }

    /// The number of the record that a line of a sink names; `None` for a record that
    /// is not among these.
    pub(crate) fn number_of(&self, line: &str) -> Option<u64> {
        match self {
            Identities::Sequence(records) => line.parse().ok().filter(|number| number < records),
            Identities::Offsets(offsets) => {
                let (partition, offset) = line.split_once(':')?;
                offsets.number_of(partition.parse().ok()?, offset.parse().ok()?)
            }
        }
    }
}

impl Identity {
    /// How a file sink writes it: one line a record.
    pub(crate) fn format(self) -> Format {
        match self {
            Identity::Sequence => Format::Custom(write_sequence),
            Identity::Offset => Format::Custom(write_offset),
        }
    }
}

/// A record without a sequence number was not loaded by the harness: its line names none.
fn write_sequence(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    let key = record.key.and_then(|key| <[u8; 8]>::try_from(key).ok());
    match key {
        Some(key) => line(out, format_args!("{}", u64::from_be_bytes(key))),
        None => line(out, format_args!("no key")),
    }
}

fn write_offset(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    line(
        out,
        format_args!("{}:{}", record.partition.index(), record.offset),
    );
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a `Vec` does not fail.
    let _ = writeln!(out, "{text}");
}

/// Offsets of a topic as runs without holes, so that they take little memory.
#[derive(Clone, Default, Debug)]
pub(crate) struct Offsets {
    /// By partition and first offset: where the run ends, the number of its first record.
    runs: BTreeMap<(u32, u64), (u64, u64)>,
    records: u64,
}

impl Offsets {
    fn number_of(&self, partition: u32, offset: u64) -> Option<u64> {
        let (&(run_partition, first), &(until, number)) =
            self.runs.range(..=(partition, offset)).next_back()?;
        let inside = run_partition == partition && offset < until;
        inside.then(|| number + (offset - first))
    }
}

/// Collects offsets while a topic is read; each partition's come in order.
#[derive(Default, Debug)]
pub(crate) struct OffsetsRead(BTreeMap<u32, Vec<Range<u64>>>);

impl OffsetsRead {
    pub(crate) fn add(&mut self, partition: u32, offset: u64) {
        let runs = self.0.entry(partition).or_default();
        match runs.last_mut() {
            Some(run) if run.end == offset => run.end = offset + 1,
            _ => runs.push(offset..offset + 1),
        }
    }

    pub(crate) fn finish(self) -> Offsets {
        let mut offsets = Offsets::default();
        for (partition, runs) in self.0 {
            for run in runs {
                offsets
                    .runs
                    .insert((partition, run.start), (run.end, offsets.records));
                offsets.records += run.end - run.start;
            }
        }
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wal_streaming::Partition;

    #[test]
    fn offsets_with_holes_are_numbered_densely() {
        let mut read = OffsetsRead::default();
        for (partition, offset) in [(1, 5), (0, 10), (1, 6), (0, 12), (1, 9)] {
            read.add(partition, offset);
        }
        let all = Identities::Offsets(read.finish());
        assert_eq!(all.len(), 5);
        let numbers = ["0:10", "0:12", "1:5", "1:6", "1:9"].map(|line| all.number_of(line));
        assert_eq!(numbers, [0, 1, 2, 3, 4].map(Some));
        for absent in ["0:9", "0:11", "0:13", "1:7", "2:5", "1", "", "a:b", "-1:5"] {
            assert_eq!(all.number_of(absent), None, "{absent}");
        }
    }

    #[test]
    fn sequences_outside_are_strangers() {
        let all = Identities::Sequence(10);
        assert_eq!(all.number_of("9"), Some(9));
        for absent in ["10", "no key", "", "-1"] {
            assert_eq!(all.number_of(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_sink_writes_what_is_counted() {
        let partition = Partition::new("orders", 3);
        let key = 7u64.to_be_bytes();
        let record = RecordRef {
            partition: &partition,
            offset: 41,
            key: Some(&key),
            value: b"",
        };
        let mut out = Vec::new();
        write_sequence(&record, &mut out);
        write_offset(&record, &mut out);
        write_sequence(
            &RecordRef {
                key: None,
                ..record
            },
            &mut out,
        );
        assert_eq!(out, b"7\n3:41\nno key\n");
    }
}
