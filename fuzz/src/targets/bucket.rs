//! Objects whose headers, catalogues and names say anything, with right checksums: the input is a
//! row of changes to a small log in a bucket. Lengths that they claim stay below 16 MiB, for
//! recovery and salvage look at every byte that is claimed (CRASH_MODEL.md, *Known, and open*).

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use crc32c::crc32c;
use wal_core::Wal;
use wal_s3::sim::SimStore;
use wal_s3::{ObjectStorage, Options};

/// Bytes of an object's header, and where checksums stand in it: `docs/FORMAT.md`.
const HEADER: usize = 168;
const EXTRA_BYTES: usize = 12;
const EXTRA_SUM: usize = 156;
/// The upper bytes of where an object's frames begin in their segment, and of how many there are.
const HIGH_BYTES: [std::ops::Range<usize>; 2] = [59..64, 67..72];

#[derive(Arbitrary, Debug)]
struct Change {
    object: u8,
    what: What,
}

#[derive(Arbitrary, Debug)]
enum What {
    /// A number in the header becomes another.
    Field {
        at: u8,
        value: u64,
    },
    /// A byte changes, wherever it is.
    Byte {
        at: u16,
        value: u8,
    },
    Cut {
        to: u16,
    },
    Remove,
    /// A copy under the name of that epoch and number.
    Copy {
        epoch: u8,
        seq: u8,
    },
    /// Something that is none of the log's.
    Foreign {
        name: u8,
    },
}

/// Makes the changes; looks, and writes. Each may fail, none may do harm.
pub fn run(data: &[u8]) {
    let bucket = base().fork(1);
    let mut input = Unstructured::new(data);
    while !input.is_empty() {
        let Ok(change) = Change::arbitrary(&mut input) else {
            break;
        };
        make(&bucket, &change);
    }
    super::stored::look(&|| open(&bucket));
    let _ = super::stored::write(open(&bucket));
}

fn open(bucket: &SimStore) -> ObjectStorage {
    let options = Options {
        take_over: true,
        segment_objects: 4,
        retry_for: Duration::from_millis(20),
        close_within: Duration::from_millis(100),
        ..Options::default()
    };
    let client = Arc::new(bucket.client("fuzz"));
    ObjectStorage::new(client, "log", options).expect("the options are sound")
}

/// Segments of three writers, two of whom were killed; a trim, and a close.
fn base() -> &'static SimStore {
    static BASE: OnceLock<SimStore> = OnceLock::new();
    BASE.get_or_init(|| {
        let bucket = SimStore::new(3);
        for round in 0..3_u8 {
            let opened = Wal::open(open(&bucket), super::stored::options());
            let (wal, _) = opened.expect("a sound log opens");
            for n in 0..9_u8 {
                wal.commit([vec![round; 40], vec![n; 3]]).expect("stored");
            }
            let _ = wal.release(wal.durable());
            wal.close().expect("closed");
        }
        bucket
    })
}

fn make(bucket: &SimStore, change: &Change) {
    let keys = bucket.keys();
    let Some((key, _)) = keys.get(usize::from(change.object) % keys.len().max(1)) else {
        return;
    };
    let mut bytes = bucket.raw(key).unwrap_or_default().to_vec();
    let mut name = key.clone();
    match change.what {
        What::Field { at, value } => {
            let at = usize::from(at) % (HEADER - 8);
            if let Some(field) = bytes.get_mut(at..at + 8) {
                field.copy_from_slice(&value.to_le_bytes());
            }
        }
        What::Byte { at, value } => {
            // Not within the catalogue, which claims lengths, too.
            let whole = bytes.get(10) == Some(&1) && bytes.get(12..16) == Some(&[0; 4]);
            let length = if whole { bytes.len() } else { HEADER };
            if let Some(byte) = bytes.get_mut(usize::from(at) % length) {
                *byte = value;
            }
        }
        What::Cut { to } => bytes.truncate(usize::from(to)),
        What::Remove => {}
        What::Copy { epoch, seq } => name = format!("log/log/{epoch:020}/{seq:020}"),
        What::Foreign { name: other } => name = format!("log/log/{other}"),
    }
    bucket.remove(&name);
    if !matches!(change.what, What::Remove) {
        repair(&mut bytes);
        bucket.insert(&name, bytes.into());
    }
}

/// Gives a header the checksums that it should have.
fn repair(object: &mut [u8]) {
    let Some(extra) = object.get(EXTRA_BYTES..EXTRA_BYTES + 4) else {
        return;
    };
    let extra = u32::from_le_bytes(extra.try_into().unwrap_or_default()) as usize;
    let sum = extra
        .checked_add(HEADER)
        .and_then(|end| object.get(HEADER..end));
    if let Some(sum) = sum.map(crc32c) {
        object[EXTRA_SUM..EXTRA_SUM + 4].copy_from_slice(&sum.to_le_bytes());
    }
    if object.len() >= HEADER {
        for high in HIGH_BYTES {
            object[high].fill(0);
        }
        let sum = crc32c(&object[..HEADER - 4]);
        object[HEADER - 4..HEADER].copy_from_slice(&sum.to_le_bytes());
    }
}
