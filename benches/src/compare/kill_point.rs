//! Where an arm is killed: chosen by the seed, the same on every machine.

/// A count of received records between 15% and 85% of `records`.
pub(super) fn kill_point(seed: u64, arm: u64, trial: u64, attempt: u64, records: u64) -> u64 {
    let mixed = [arm, trial, attempt]
        .into_iter()
        .fold(mix(seed), |state, part| mix(state ^ part));
    let low = records * 15 / 100;
    let high = records * 85 / 100;
    low + mixed % (high - low).max(1)
}

/// One step of SplitMix64.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn points_are_seeded_spread_and_inside() {
        let records = 500_000;
        let mut points = BTreeSet::new();
        for seed in 0..4 {
            for (arm, trial, attempt) in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1)] {
                let point = kill_point(seed, arm, trial, attempt, records);
                assert_eq!(point, kill_point(seed, arm, trial, attempt, records));
                assert!((75_000..425_000).contains(&point), "{point}");
                points.insert(point);
            }
        }
        assert_eq!(points.len(), 16);
    }
}
