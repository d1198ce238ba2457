//! Progress on standard error: a bar on a terminal, single lines for what matters otherwise.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

/// One bar for whatever is under way.
pub(crate) struct Ui {
    bar: ProgressBar,
}

impl Ui {
    pub(crate) fn new() -> Ui {
        let bar = ProgressBar::new(0);
        let style = "{prefix:>44} {bar:32} {human_pos}/{human_len} {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Ui { bar }
    }

    /// Something begins that counts to `length`.
    pub(crate) fn begin(&self, what: impl Into<String>, length: u64) {
        self.bar.reset();
        self.bar.set_length(length);
        self.bar.set_prefix(what.into());
    }

    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// A line that stays, also where no bar is shown.
    pub(crate) fn note(&self, text: &str) {
        self.bar.suspend(|| tell(text));
    }
}

/// A line to standard error. Nobody there to read it is no reason to fail.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
