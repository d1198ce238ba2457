//! Histories of a log on the simulated storage, against the model of `wal_core::conformance`.

use arbitrary::Unstructured;
use wal_core::Limits;
use wal_core::conformance::Place;
use wal_core::conformance::model::{Harm, Model, Op, Setup};
use wal_core::sim::SimStorage;

/// One history.
pub fn run(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let seed = bytes.arbitrary().unwrap_or(0);
    let pipelined = Limits {
        align: 1,
        in_flight: 4,
        append_bytes: 1 << 20,
        ..Limits::default()
    };
    let place = match bytes.arbitrary() {
        Ok(true) => SimStorage::with_limits(seed, pipelined),
        _ => SimStorage::new(seed),
    };
    history(place, &mut bytes);
}

/// Steps until the bytes are used up, and some harm at the end.
pub(super) fn history<P: Place>(place: P, bytes: &mut Unstructured<'_>) {
    let setup = Setup::new(bytes.arbitrary().unwrap_or(false));
    let mut choose = |bound: u64| bytes.int_in_range(0..=bound.max(1) - 1).unwrap_or(0);
    let harm = (choose(3) > 0).then(|| Harm::choose(&mut choose));
    let mut model = Model::new(place, setup);
    for _ in 0..80 {
        if bytes.is_empty() {
            break;
        }
        let mut choose = |bound: u64| bytes.int_in_range(0..=bound.max(1) - 1).unwrap_or(0);
        model.run(Op::choose(&mut choose));
    }
    model.end(harm);
}
