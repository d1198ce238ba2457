//! How a record is written to a file.

use std::fmt;

use serde::de::IgnoredAny;

use crate::RecordRef;

/// How a [`FileSink`](crate::FileSink) writes a record.
///
/// ```
/// use wal_streaming::Format;
/// let keys_only = Format::Custom(|record, out| {
///     out.extend_from_slice(record.key.unwrap_or_default());
///     out.push(b'\n');
/// });
/// assert_eq!(format!("{keys_only:?}"), "Custom");
/// ```
#[derive(Clone, Copy)]
pub enum Format {
    /// A line of JSON, ending `.jsonl`:
    /// `{"topic":"orders","partition":0,"offset":7,"key":"k","value":{"id":1},"encoding":"json"}`.
    ///
    /// `encoding` tells what `value` was, so that its bytes can be had back:
    /// `json`: a JSON text on one line, embedded as it was;
    /// `text`: other UTF-8, as a JSON string;
    /// `base64`: anything else, as a JSON string of standard base64.
    /// `key` is `null`, or a JSON string; if it is not UTF-8 it is base64, and
    /// `"key_encoding":"base64"` follows it.
    JsonLines,
    /// The value and a line end, ending `.raw`.
    Raw,
    /// Whatever this function appends, ending `.out`.
    Custom(fn(&RecordRef<'_>, &mut Vec<u8>)),
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::JsonLines => "JsonLines",
            Format::Raw => "Raw",
            Format::Custom(_) => "Custom",
        })
    }
}

impl Format {
    pub(super) fn ending(self) -> &'static str {
        match self {
            Format::JsonLines => "jsonl",
            Format::Raw => "raw",
            Format::Custom(_) => "out",
        }
    }

    /// Appends `record` to `out`.
    pub(super) fn write(self, record: &RecordRef<'_>, out: &mut Vec<u8>) {
        match self {
            Format::JsonLines => json_line(record, out),
            Format::Raw => {
                out.extend_from_slice(record.value);
                out.push(b'\n');
            }
            Format::Custom(write) => write(record, out),
        }
    }
}

fn json_line(record: &RecordRef<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"topic\":");
    json_string(record.partition.topic(), out);
    let place = format!(
        ",\"partition\":{},\"offset\":{},\"key\":",
        record.partition.index(),
        record.offset
    );
    out.extend_from_slice(place.as_bytes());
    match record
        .key
        .map(|key| std::str::from_utf8(key).map_err(|_| key))
    {
        None => out.extend_from_slice(b"null"),
        Some(Ok(text)) => json_string(text, out),
        Some(Err(bytes)) => {
            json_string(&base64(bytes), out);
            out.extend_from_slice(b",\"key_encoding\":\"base64\"");
        }
    }
    out.extend_from_slice(b",\"value\":");
    let encoding = json_value(record.value, out);
    out.extend_from_slice(b",\"encoding\":\"");
    out.extend_from_slice(encoding.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// Appends `value` in the simplest of the three encodings, and says which.
fn json_value(value: &[u8], out: &mut Vec<u8>) -> &'static str {
    let Ok(text) = std::str::from_utf8(value) else {
        json_string(&base64(value), out);
        return "base64";
    };
    let one_line = !value.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    if one_line && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        out.extend_from_slice(value);
        return "json";
    }
    json_string(text, out);
    "text"
}

/// Appends a JSON string.
fn json_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Standard base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * place) & 63) as usize);
            let digit = digit.filter(|_| place <= group.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::Partition;

    fn line(key: Option<&[u8]>, value: &[u8]) -> Value {
        let partition = Partition::new("a \"topic\"", 3);
        let record = RecordRef {
            partition: &partition,
            offset: 9,
            key,
            value,
        };
        let mut out = Vec::new();
        Format::JsonLines.write(&record, &mut out);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn each_value_has_the_encoding_that_keeps_it() {
        assert_eq!(line(None, br#"{"id":1}"#)["value"]["id"], 1);
        assert_eq!(line(None, b"\"x\"")["encoding"], "json");
        assert_eq!(line(None, b"{\n}")["encoding"], "text");
        assert_eq!(line(None, b"plain")["value"], "plain");
        let binary = line(Some(&[0xff]), &[0xff, 0xfe]);
        assert_eq!(
            (&binary["value"], &binary["encoding"]),
            (&"//4=".into(), &"base64".into())
        );
        assert_eq!(
            (&binary["key"], &binary["key_encoding"]),
            (&"/w==".into(), &"base64".into())
        );
        assert_eq!(line(None, b"")["key"], Value::Null);
    }

    #[test]
    fn base64_is_the_standard_one() {
        let known = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ];
        for (bytes, text) in known {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    proptest! {
        #[test]
        fn every_record_is_one_line_of_json(key: Option<String>, value: Vec<u8>, text: String) {
            let shown = line(key.as_deref().map(str::as_bytes), text.as_bytes());
            prop_assert_eq!(shown["key"].as_str(), key.as_deref());
            if shown["encoding"] == "text" {
                prop_assert_eq!(shown["value"].as_str(), Some(text.as_str()));
            }
            line(None, &value);
        }
    }
}
