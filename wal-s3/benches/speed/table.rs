//! What was measured, beside what was wanted.

use std::fmt;

/// What a value should be.
#[derive(Clone, Copy)]
pub(crate) enum Want {
    AtLeast(f64),
    AtMost(f64),
}

pub(crate) fn at_least(value: f64) -> Want {
    Want::AtLeast(value)
}

pub(crate) fn at_most(value: f64) -> Want {
    Want::AtMost(value)
}

/// A case, and all that was measured of it.
pub(crate) struct Row {
    name: String,
    measured: Vec<String>,
    wanted: Vec<String>,
    note: String,
}

impl Row {
    pub(crate) fn of(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            measured: Vec::new(),
            wanted: Vec::new(),
            note: String::new(),
        }
    }

    /// `{}` in `words` stands for the value.
    pub(crate) fn value(mut self, words: &str, value: f64, want: Want) -> Row {
        let (met, sign, wanted) = match want {
            Want::AtLeast(least) => (value >= least, "≥", least),
            Want::AtMost(most) => (value <= most, "≤", most),
        };
        let shown = words.replace("{}", &short(value));
        self.measured.push(match met {
            true => shown,
            false => format!("**{shown}**"),
        });
        self.wanted
            .push(words.replace("{}", &format!("{sign} {}", short(wanted))));
        self
    }

    pub(crate) fn note(mut self, note: String) -> Row {
        self.note = note;
        self
    }
}

/// As many digits as say something.
fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 || value.fract() == 0.0 => {
            let digits = format!("{value:.0}");
            match digits.len() {
                5.. => format!(
                    "{},{}",
                    &digits[..digits.len() - 3],
                    &digits[digits.len() - 3..]
                ),
                4 => format!("{},{}", &digits[..1], &digits[1..]),
                _ => digits,
            }
        }
        small if small < 2.0 => {
            let digits = format!("{value:.4}");
            digits
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        }
        _ => format!("{value:.1}"),
    }
}

#[derive(Default)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        self.0.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "| case | measured (**missed**) | wanted | requests |\n|---|---|---|---|"
        )?;
        for row in &self.0 {
            let (measured, wanted) = (row.measured.join(", "), row.wanted.join(", "));
            writeln!(f, "| {} | {measured} | {wanted} | {} |", row.name, row.note)?;
        }
        Ok(())
    }
}
