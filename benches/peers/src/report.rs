//! Makes tables and JSON of samples.

use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cases::Case;
use crate::measure::Sample;
use crate::peers::is_floor;

/// A median and how far it spreads.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread {
            median: f64::midpoint(low, high),
            min,
            max,
        })
    }
}

/// One log in one case.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    name: &'static str,
    /// One value per round.
    values: Vec<f64>,
    spread: Spread,
    /// To the floor of the same round.
    ratio: Option<Spread>,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    p999_us: Option<f64>,
    syncs_per_append: Option<f64>,
    cpu_s_per_gib: Option<f64>,
    device_bytes_per_byte: Option<f64>,
    memory_mib: Option<f64>,
    /// Not if it does not keep the same promise in this case.
    ranked: bool,
    note: &'static str,
}

/// One case.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    case: &'static str,
    title: &'static str,
    unit: &'static str,
    note: &'static str,
    floor: Option<&'static str>,
    rows: Vec<Row>,
    /// Who is not in it, and why.
    left_out: Vec<(&'static str, String)>,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) versions: Vec<(&'static str, &'static str)>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    pub(crate) cases: Vec<Outcome>,
}

/// All samples of one log in one case.
pub(crate) struct Samples {
    pub(crate) name: &'static str,
    pub(crate) note: &'static str,
    /// Not if it does not keep the same promise in this case.
    pub(crate) ranked: bool,
    pub(crate) rounds: Vec<Sample>,
    /// MiB that a process with this log alone needs.
    pub(crate) memory: Option<f64>,
}

impl Outcome {
    /// The floor is whichever of the floors has the better median; every ratio is taken within
    /// a round.
    pub(crate) fn new(
        case: &Case,
        samples: Vec<Samples>,
        left_out: Vec<(&'static str, String)>,
    ) -> Self {
        let sign = if case.smaller_is_better() { -1.0 } else { 1.0 };
        let median = |samples: &Samples| {
            let values = samples.rounds.iter().map(|sample| sample.value);
            Spread::of(values).map_or(f64::NAN, |spread| spread.median)
        };
        let floors = samples.iter().filter(|samples| is_floor(samples.name));
        let floor = floors.max_by(|a, b| (median(a) * sign).total_cmp(&(median(b) * sign)));
        let base: Option<Vec<f64>> =
            floor.map(|floor| floor.rounds.iter().map(|sample| sample.value).collect());
        let name = floor.map(|floor| floor.name);
        let mut rows: Vec<Row> = samples
            .iter()
            .filter_map(|samples| Row::new(samples, base.as_deref()))
            .collect();
        rows.sort_by(|a, b| {
            let order = (b.spread.median * sign).total_cmp(&(a.spread.median * sign));
            let place = |row: &Row| (!row.ranked, !is_floor(row.name));
            place(a).cmp(&place(b)).then(order)
        });
        Outcome {
            case: case.name,
            title: case.title,
            unit: case.unit(),
            note: case.note(),
            floor: name,
            rows,
            left_out,
        }
    }

    /// The table.
    pub(crate) fn print(&self) {
        println!("\n{} ({}, {})", self.title, self.case, self.unit);
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "log",
            self.unit,
            "min",
            "max",
            "of floor",
            "min",
            "max",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "syncs/append",
            "CPU s/GiB",
            "device B/B",
            "MiB",
        ]);
        for row in &self.rows {
            let optional = |value: Option<f64>| value.map_or("-".into(), number);
            let ratio = |pick: fn(&Spread) -> f64| {
                row.ratio
                    .as_ref()
                    .map_or("-".into(), |ratio| format!("{:.2}", pick(ratio)))
            };
            let mark = if Some(row.name) == self.floor {
                " *"
            } else if !row.ranked {
                ", not ranked"
            } else {
                ""
            };
            table.add_row([
                format!("{}{mark}", row.name),
                number(row.spread.median),
                number(row.spread.min),
                number(row.spread.max),
                ratio(|ratio| ratio.median),
                ratio(|ratio| ratio.min),
                ratio(|ratio| ratio.max),
                optional(row.p50_us),
                optional(row.p99_us),
                optional(row.p999_us),
                optional(row.syncs_per_append),
                optional(row.cpu_s_per_gib),
                optional(row.device_bytes_per_byte),
                optional(row.memory_mib),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        if !self.note.is_empty() {
            println!("{}", self.note);
        }
        for row in self.rows.iter().filter(|row| !row.note.is_empty()) {
            println!("{}: {}", row.name, row.note);
        }
        for (name, reason) in &self.left_out {
            println!("left out: {name}: {reason}");
        }
    }
}

impl Row {
    fn new(samples: &Samples, base: Option<&[f64]>) -> Option<Self> {
        let values: Vec<f64> = samples.rounds.iter().map(|sample| sample.value).collect();
        let mut latency: Option<Histogram<u64>> = None;
        for round in samples
            .rounds
            .iter()
            .filter_map(|sample| sample.latency.as_ref())
        {
            match &mut latency {
                Some(all) => all.add(round).ok()?,
                none => *none = Some(round.clone()),
            }
        }
        let quantile = |quantile| {
            let at = latency.as_ref().map(|all| all.value_at_quantile(quantile));
            at.map(|nanos| nanos as f64 / 1e3)
        };
        let median_of = |pick: fn(&Sample) -> Option<f64>| {
            Spread::of(samples.rounds.iter().filter_map(pick)).map(|spread| spread.median)
        };
        let ratio = base.and_then(|base| {
            Spread::of(values.iter().zip(base).map(|(value, floor)| value / floor))
        });
        Some(Row {
            name: samples.name,
            spread: Spread::of(values.iter().copied())?,
            values,
            ratio,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            syncs_per_append: median_of(|sample| sample.syncs_per_append),
            cpu_s_per_gib: median_of(|sample| sample.cpu),
            device_bytes_per_byte: median_of(|sample| sample.device),
            memory_mib: samples.memory,
            ranked: samples.ranked,
            note: samples.note,
        })
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 0.1 || magnitude == 0.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_rounds() {
        let spread = Spread::of([3.0, 1.0, 2.0, 10.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.5, 1.0, 10.0));
        assert!(Spread::of([]).is_none());
    }
}
