//! The steps of a history, and how they are chosen.

/// What can be done to a log, and to what it lies on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Op {
    /// Appends records of these lengths atomically, and waits.
    Append {
        /// Bytes of each record.
        lengths: Vec<usize>,
        /// Waits until they are durable, or accepted only.
        durable: bool,
    },
    /// The same, without waiting.
    Begin {
        /// Bytes of each record.
        lengths: Vec<usize>,
        /// Durable, or accepted only.
        durable: bool,
    },
    /// One record by `Wal::commit`.
    Commit(usize),
    /// Appends without waiting until the queue is full.
    Flood(usize),
    /// A barrier.
    Sync,
    /// Power loss, and an open.
    Crash,
    /// The end of the process, and an open.
    Kill,
    /// A close, and an open.
    Close,
    /// The write or sync after so many more fails.
    Fail(u64),
    /// No segment finds room any more, or each does again.
    Full(bool),
    /// Releases this share of what is durable, in 255ths.
    Release(u8),
    /// Reads everything.
    Read,
    /// Reads one record by itself.
    Get(u8),
    /// Follows the log over one append.
    Tail(usize),
    /// Looks through a read-only view.
    View,
    /// Holds what lies behind this place until the next hold, truncation or open.
    Hold(u8),
    /// Sets a hold with a name.
    SetHold(u8, u8),
    /// Removes one.
    RemoveHold(u8),
    /// Truncates at this place.
    Truncate(u8),
    /// Appends some without waiting, and takes back what lies behind this share of them.
    Rewind(Vec<usize>, u8),
}

/// How a log is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Setup {
    /// Frames are compressed.
    pub compress: bool,
}

impl Setup {
    /// With compression, or without.
    #[must_use]
    pub fn new(compress: bool) -> Self {
        Setup { compress }
    }
}

/// Gives a number below its argument, which is not 0: by chance, or from a fuzzer's bytes.
pub type Choose<'a> = dyn FnMut(u64) -> u64 + 'a;

impl Op {
    /// A step, as `choose` has it.
    pub fn choose(choose: &mut Choose<'_>) -> Op {
        match choose(35) {
            0..6 => Op::Append {
                lengths: lengths(choose),
                durable: choose(2) == 1,
            },
            6..10 => Op::Begin {
                lengths: lengths(choose),
                durable: choose(4) > 0,
            },
            10..12 => Op::Commit(choose(9000) as usize),
            12 => Op::Flood(choose(3000) as usize),
            13 => Op::Sync,
            14..16 => Op::Crash,
            16 => Op::Kill,
            17 => Op::Close,
            18 => Op::Fail(choose(6)),
            19 => Op::Full(choose(2) == 1),
            20..22 => Op::Release(choose(256) as u8),
            22 => Op::Read,
            23 => Op::Get(choose(256) as u8),
            24 => Op::Tail(choose(3000) as usize),
            25 => Op::View,
            26 => Op::Hold(choose(256) as u8),
            27 => Op::SetHold(choose(3) as u8, choose(256) as u8),
            28 => Op::RemoveHold(choose(3) as u8),
            29 => Op::Truncate(choose(256) as u8),
            30 => Op::Fail(choose(3)),
            31 => Op::Kill,
            _ => Op::Rewind(lengths(choose), choose(256) as u8),
        }
    }
}

fn lengths(choose: &mut Choose<'_>) -> Vec<usize> {
    (0..=choose(5)).map(|_| choose(3000) as usize).collect()
}

/// A chooser that draws from a seed.
pub fn random(seed: u64) -> impl FnMut(u64) -> u64 {
    // splitmix64 (Steele, Lea, Flood, OOPSLA 2014)
    let mut state = seed;
    move |bound| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = state;
        value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ (value >> 31)) % bound.max(1)
    }
}
