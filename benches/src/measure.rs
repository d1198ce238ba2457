//! Figures from samples: medians and spreads, percentiles, and how they are written.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// No record waits longer for its acknowledgement; one that did counts as this.
const AN_HOUR_MICROS: u64 = 3_600_000_000;

/// Latencies in microseconds, to three digits.
pub(crate) fn latency_histogram() -> Outcome<Histogram<u64>> {
    Histogram::new_with_max(AN_HOUR_MICROS, 3)
        .map_err(|cause| Failure::run(format!("latency histogram: {cause:?}")))
}

/// The median of some rounds, and how far they spread.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` for no samples.
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = samples.first().zip(samples.last())?;
        let upper = samples.get(samples.len() / 2)?;
        let lower = samples.get((samples.len() - 1) / 2)?;
        Some(Spread {
            median: f64::midpoint(*lower, *upper),
            min,
            max,
        })
    }
}

/// Percentiles of a latency, in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    /// Of microseconds; `None` if nothing was recorded.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Percentiles> {
        let millis = |micros: u64| exact(micros) / 1e3;
        let at = |percent| millis(histogram.value_at_percentile(percent));
        (!histogram.is_empty()).then(|| Percentiles {
            p50: at(50.0),
            p99: at(99.0),
            p999: at(99.9),
            max: millis(histogram.max()),
        })
    }
}

/// A count as a number to divide: exact up to 2^53, far beyond what is counted here.
pub(crate) fn exact(count: u64) -> f64 {
    count as f64
}

/// `1,234,567`.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// About three digits: `0.123`, `1.23`, `12.3`, `1,234`.
pub(crate) fn digits(number: f64) -> String {
    match number.abs() {
        n if n < 1.0 => format!("{number:.3}"),
        n if n < 10.0 => format!("{number:.2}"),
        n if n < 100.0 => format!("{number:.1}"),
        _ => thousands(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        let spread = |samples: &[f64]| Spread::of(samples.iter().copied());
        assert_eq!(spread(&[]), None);
        assert_eq!(
            spread(&[3.0, 1.0, 2.0]),
            Some(Spread {
                median: 2.0,
                min: 1.0,
                max: 3.0
            })
        );
        assert_eq!(
            spread(&[4.0, 1.0, 2.0, 3.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
    }

    #[test]
    fn percentiles_weigh_records() {
        let mut histogram = latency_histogram().unwrap();
        assert_eq!(Percentiles::of(&histogram), None);
        histogram.saturating_record_n(1_000, 990);
        histogram.saturating_record_n(50_000, 10);
        let found = Percentiles::of(&histogram).unwrap();
        assert!(
            (found.p50 - 1.0).abs() < 0.01 && (found.p999 - 50.0).abs() < 0.1,
            "{found:?}"
        );
    }

    #[test]
    fn numbers_are_readable() {
        let written = [0.0, 999.0, 1_000.0, 1_234_567.0].map(thousands);
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.1234, 1.234, 12.34, 1234.0].map(digits),
            ["0.123", "1.23", "12.3", "1,234"]
        );
    }
}
