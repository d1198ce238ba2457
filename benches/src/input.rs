//! The records to load: the lines of a file, plain or zstd, or of the sample inside this executable.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use crate::failure::{Failure, Outcome};

/// Flights that left New York in January 2013 (see `data/README.md`).
const SAMPLE: &[u8] = include_bytes!("../data/flights-2013-01.jsonl.zst");
const SAMPLE_NAME: &str = "flights-2013-01.jsonl.zst (built in)";
/// Below the largest message that a broker takes by default.
const LONGEST_LINE: u64 = 900_000;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Lines in memory, one buffer for all.
#[derive(Debug)]
pub(crate) struct Input {
    name: String,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Input {
    /// The first `most` lines of `path`, or of the sample.
    pub(crate) fn read(path: Option<&Path>, most: u64) -> Outcome<Input> {
        match path {
            None => Input::from_reader(SAMPLE_NAME.into(), Cursor::new(SAMPLE), most),
            Some(path) => {
                let name = path.display().to_string();
                let unusable = |cause: std::io::Error| {
                    Failure::input(format!(
                        "input file {name}: {cause}; give a readable file of lines"
                    ))
                };
                let file = File::open(path).map_err(unusable)?;
                if file.metadata().map_err(unusable)?.is_dir() {
                    return Err(unusable(ErrorKind::IsADirectory.into()));
                }
                Input::from_reader(name.clone(), BufReader::with_capacity(1 << 18, file), most)
            }
        }
    }

    fn from_reader(name: String, mut reader: impl BufRead, most: u64) -> Outcome<Input> {
        let mut input = Input {
            name,
            text: Vec::new(),
            ends: Vec::new(),
        };
        let packed = match reader.fill_buf() {
            Ok(start) => start.starts_with(&ZSTD_MAGIC),
            Err(cause) => return Err(input.unreadable(1, &cause)),
        };
        if packed {
            match zstd::Decoder::with_buffer(reader) {
                Ok(unpacked) => {
                    input.take_lines(BufReader::with_capacity(1 << 18, unpacked), most)?
                }
                Err(cause) => return Err(input.unreadable(1, &cause)),
            }
        } else {
            input.take_lines(reader, most)?;
        }
        if input.ends.is_empty() {
            return Err(Failure::input(format!(
                "input file {}: holds no line; give a file with one record a line",
                input.name
            )));
        }
        Ok(input)
    }

    /// Empty lines are passed over. A line is bounded, so that a file without line
    /// ends does not fill the memory.
    fn take_lines(&mut self, mut reader: impl BufRead, most: u64) -> Outcome<()> {
        let mut number = 0u64;
        while (self.ends.len() as u64) < most {
            number += 1;
            let start = self.text.len();
            let read = (&mut reader)
                .take(LONGEST_LINE + 1)
                .read_until(b'\n', &mut self.text);
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(cause) => return Err(self.unreadable(number, &cause)),
            }
            if self.text.len() - start > usize::try_from(LONGEST_LINE).unwrap_or(usize::MAX) {
                return Err(Failure::input(format!(
                    "input file {}: line {number} is longer than {LONGEST_LINE} bytes; \
                     split it: a broker would not take it",
                    self.name
                )));
            }
            while self.text.len() > start && matches!(self.text.last(), Some(b'\n' | b'\r')) {
                self.text.pop();
            }
            if self.text.len() > start {
                self.ends.push(self.text.len());
            }
        }
        Ok(())
    }

    fn unreadable(&self, line: u64, cause: &std::io::Error) -> Failure {
        Failure::input(format!(
            "input file {}: line {line}: {cause}; give plain lines or intact zstd",
            self.name
        ))
    }

    /// What it is called in a report.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The lines, again and again.
    pub(crate) fn cycle(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let lines = starts.zip(self.ends.iter().copied());
        lines
            .filter_map(|(start, end)| self.text.get(start..end))
            .cycle()
    }

    /// Bytes of the first `records` of `cycle`.
    pub(crate) fn bytes_of(&self, records: u64) -> u64 {
        let lines = self.ends.len() as u64;
        let whole = (records / lines).saturating_mul(self.text.len() as u64);
        let part = usize::try_from(records % lines).unwrap_or(0);
        let rest = part
            .checked_sub(1)
            .and_then(|last| self.ends.get(last))
            .copied()
            .unwrap_or(0);
        whole.saturating_add(rest as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], most: u64) -> Outcome<Input> {
        Input::from_reader("test".into(), Cursor::new(bytes.to_vec()), most)
    }

    #[test]
    fn lines_are_kept_and_empty_ones_passed_over() {
        let input = read(b"one\r\n\n\ntwo\nthree", 100).unwrap();
        let lines: Vec<_> = input.cycle().take(4).collect();
        assert_eq!(lines, [b"one".as_slice(), b"two", b"three", b"one"]);
        assert_eq!(input.bytes_of(3), 11);
        assert_eq!(input.bytes_of(5), 11 + 6);
    }

    #[test]
    fn no_more_lines_are_read_than_wanted() {
        assert_eq!(read(b"a\nb\nc\n", 2).unwrap().ends.len(), 2);
    }

    #[test]
    fn the_sample_is_whole() {
        let input = Input::read(None, u64::MAX).unwrap();
        assert_eq!(input.ends.len(), 27_004);
        // Every line but for its line end.
        assert_eq!(input.bytes_of(27_004), 8_103_749 - 27_004);
    }

    #[test]
    fn unusable_input_is_one_clear_line() {
        let truncated = SAMPLE.get(..SAMPLE.len() / 2).unwrap();
        let endless = vec![b'x'; 2_000_000];
        let no_lines = b"\n\n".as_slice();
        for bytes in [b"".as_slice(), no_lines, truncated, endless.as_slice()] {
            let failure = read(bytes, u64::MAX).unwrap_err();
            assert_eq!(failure.exit_code(), 3);
            assert!(
                failure.message.starts_with("input file test: "),
                "{failure}"
            );
            assert!(!failure.message.contains('\n'));
        }
    }
}
