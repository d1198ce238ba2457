//! Reads what `strace -f -y` wrote.

use std::collections::{HashMap, HashSet};

/// What a trace showed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Traced {
    pub(super) acknowledged: u64,
    pub(super) synced_before: u64,
    pub(super) syncs: u64,
    pub(super) renames: u64,
    /// Acknowledged in a file that was renamed, before its directory was synced.
    pub(super) unnamed: u64,
}

/// A call.
#[derive(Clone, Copy)]
struct Call<'a> {
    name: &'a str,
    /// What it is about.
    file: &'a str,
    /// The line in which it began, and its number.
    text: &'a str,
    begun: u64,
    succeeded: bool,
}

/// `log` is the directory of the log.
pub(super) fn read(text: &str, log: &str) -> Traced {
    let mut traced = Traced::default();
    let mut unfinished = HashMap::new();
    let mut files = Files::default();
    let (mut measuring, mut last_ack) = (false, 0);
    for (line, now) in text.lines().zip(1..) {
        let Some(call) = ended(line, now, &mut unfinished) else {
            continue;
        };
        if call.text.contains("\"BEGIN") || call.text.contains("\"END") {
            measuring = call.text.contains("\"BEGIN");
            last_ack = now;
        } else if call.text.contains("\"ACK") {
            traced.acknowledged += 1;
            let durable: Vec<&str> = files.durable_since(last_ack).collect();
            traced.synced_before += u64::from(!durable.is_empty());
            traced.unnamed += u64::from(durable.iter().any(|file| !files.is_named(file)));
            last_ack = now;
        } else {
            let (syncs, renames) = files.note(&call, now, log);
            traced.syncs += u64::from(syncs && measuring);
            traced.renames += u64::from(renames && measuring);
        }
    }
    traced
}

/// The call that ends in this line, if one does.
fn ended<'a>(
    line: &'a str,
    now: u64,
    unfinished: &mut HashMap<&'a str, Call<'a>>,
) -> Option<Call<'a>> {
    let (process, text) = line.split_once(char::is_whitespace)?;
    let text = text.trim_start();
    let succeeded = text.ends_with("= 0");
    if text.starts_with("<... ") {
        let begun = unfinished.remove(process)?;
        return Some(Call { succeeded, ..begun });
    }
    let name = text.split('(').next().unwrap_or_default();
    let file = match name {
        "openat" => text.split('"').nth(1),
        "rename" | "renameat" | "renameat2" => text.split('"').nth(3),
        _ => text.split(['<', '>']).nth(1),
    };
    let call = Call {
        name,
        file: file.unwrap_or_default(),
        text,
        begun: now,
        succeeded,
    };
    if text.ends_with("<unfinished ...>") {
        unfinished.insert(process, call);
        return None;
    }
    Some(call)
}

/// What has become of the log's files, by line.
#[derive(Default)]
struct Files<'a> {
    dsync: HashSet<&'a str>,
    /// When the last write ended.
    written: HashMap<&'a str, u64>,
    /// When the last sync that has ended had begun; of directories, too.
    synced: HashMap<&'a str, u64>,
    /// When it got its name.
    renamed: HashMap<&'a str, u64>,
}

impl<'a> Files<'a> {
    /// Takes down a call; tells whether it was a sync, and a rename.
    fn note(&mut self, call: &Call<'a>, now: u64, log: &str) -> (bool, bool) {
        let (file, ours) = (call.file, call.file.starts_with(log));
        match call.name {
            "openat" if call.text.contains("O_DSYNC") || call.text.contains("O_SYNC") => {
                self.dsync.insert(file);
                (false, false)
            }
            "openat" => (false, false),
            "rename" | "renameat" | "renameat2" => {
                let done = ours && call.succeeded;
                if done {
                    self.renamed.insert(file, now);
                }
                (false, done)
            }
            "fsync" | "fdatasync" if ours => {
                self.synced.insert(file, call.begun);
                (true, false)
            }
            _ if ours => {
                self.written.insert(file, now);
                let synced = self.dsync.contains(file);
                if synced {
                    self.synced.insert(file, now + 1);
                }
                (synced, false)
            }
            _ => (false, false),
        }
    }

    /// Those that were written since then, and synced after that.
    fn durable_since(&self, then: u64) -> impl Iterator<Item = &'a str> + '_ {
        let recent = self.written.iter().filter(move |(_, at)| **at > then);
        let synced = |file: &str, at: u64| self.synced.get(file).is_some_and(|begun| *begun > at);
        recent.filter_map(move |(file, at)| synced(file, *at).then_some(*file))
    }

    /// Whether its directory was synced since it got its name by a rename, if it did. (Where a file is
    /// new, its first `fsync` brings the name along on ext4.)
    fn is_named(&self, file: &str) -> bool {
        let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let synced = self.synced.get(directory);
        let named = |at: &u64| synced.is_some_and(|begun| begun > at);
        self.renamed.get(file).is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"write(1<pipe:[1]>, "BEGIN\n", 6) = 6"#;
    const ACK: &str = r#"write(1<pipe:[1]>, "ACK\n", 4) = 4"#;
    const WRITE: &str = r#"pwrite64(3</log/a>, "x"..., 9, 0) = 9"#;
    const SYNC: &str = "fdatasync(3</log/a>) = 0";

    fn traced(lines: &[&str]) -> Traced {
        let lines: Vec<String> = lines.iter().map(|line| format!("7  {line}")).collect();
        read(&lines.join("\n"), "/log")
    }

    #[test]
    fn a_sync_counts_only_between_write_and_acknowledgement() {
        let other = "fdatasync(4</log/b>) = 0";
        let all = traced(&[
            BEGIN, WRITE, SYNC, ACK, WRITE, ACK, SYNC, ACK, WRITE, other, ACK, SYNC, WRITE, ACK,
        ]);
        let wanted = Traced {
            acknowledged: 5,
            synced_before: 1,
            syncs: 4,
            ..Traced::default()
        };
        assert_eq!(all, wanted);
    }

    #[test]
    fn a_sync_that_began_before_the_write_ended_does_not_count() {
        let text = "7  write(1<pipe:[1]>, \"BEGIN\\n\", 6) = 6\n\
                    8  fdatasync(3</log/a> <unfinished ...>\n\
                    7  pwrite64(3</log/a>, \"x\"..., 9, 0) = 9\n\
                    8  <... fdatasync resumed>) = 0\n\
                    7  write(1<pipe:[1]>, \"ACK\\n\", 4) = 4\n";
        let wanted = Traced {
            acknowledged: 1,
            synced_before: 0,
            syncs: 1,
            ..Traced::default()
        };
        assert_eq!(read(text, "/log"), wanted);
    }

    #[test]
    fn an_acknowledgement_counts_where_its_call_is_told_in_two_lines() {
        let text = "7  write(1<pipe:[1]>, \"ACK\\n\", 4 <unfinished ...>\n\
                    8  fdatasync(3</log/a>) = 0\n\
                    7  <... write resumed>) = 4\n";
        assert_eq!(read(text, "/log").acknowledged, 1);
    }

    #[test]
    fn a_write_with_o_dsync_is_its_own_sync() {
        let all = traced(&[
            "openat(AT_FDCWD</>, \"/log/a\", O_RDWR|O_DSYNC|O_DIRECT) = 3</log/a>",
            r#"write(1<pipe:[1]>, "BEGIN\n", 6) = 6"#,
            "pwrite64(3</log/a>, \"x\"..., 4096, 0) = 4096",
            r#"write(1<pipe:[1]>, "ACK\n", 4) = 4"#,
        ]);
        assert_eq!(
            all,
            Traced {
                acknowledged: 1,
                synced_before: 1,
                syncs: 1,
                ..Traced::default()
            }
        );
    }

    #[test]
    fn a_new_name_counts_once_its_directory_is_synced() {
        let rename = r#"rename("/log/spare", "/log/a") = 0"#;
        let named = "fsync(4</log>) = 0";
        let all = traced(&[
            BEGIN, named, rename, WRITE, SYNC, ACK, named, WRITE, SYNC, ACK, rename, named, WRITE,
            SYNC, ACK,
        ]);
        let wanted = Traced {
            acknowledged: 3,
            synced_before: 3,
            syncs: 6,
            renames: 2,
            unnamed: 1,
        };
        assert_eq!(all, wanted);
    }
}
