//! A child under supervision: started, listened to, killed at a count, waited for.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::arm::spec::{Measured, Said, Spec};
use crate::failure::{Failure, Outcome};

/// A child that says nothing for this long hangs. Joining a group after a kill takes
/// about twice the session timeout and must fit.
const PATIENCE: Duration = Duration::from_secs(60);

/// Records received and sunk, as far as the parent heard.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Heard {
    pub(super) received: u64,
    pub(super) sunk: u64,
}

/// How a child ended.
#[derive(Debug)]
pub(super) enum End {
    /// By itself, with everything done.
    Finished(Measured),
    /// By signal 9, while the arm was running.
    Killed(Heard),
}

/// Runs the arm that `spec` describes in a child of this executable, and kills it once
/// it has received `kill_at` records.
pub(super) fn supervise(
    spec: &Spec,
    kill_at: Option<u64>,
    progress: &mut dyn FnMut(Heard),
) -> Outcome<End> {
    let executable = std::env::current_exe()
        .map_err(|cause| Failure::run(format!("this executable cannot be found: {cause}")))?;
    let mut command = Command::new(executable);
    command.arg("arm").env("RUST_BACKTRACE", "0");
    let spec_line = serde_json::to_string(spec)
        .map_err(|cause| Failure::run(format!("specification of an arm: {cause}")))?;
    let ended = Supervised::start(command, &spec_line)?.listen(kill_at, progress);
    ended.map_err(|failure| Failure {
        message: format!("{}: {}", spec.arm.label(), failure.message),
        ..failure
    })
}

/// A running child. Dropping it kills it.
struct Supervised {
    child: Child,
    /// The child dies when this closes, which the system does if this process dies.
    _lifeline: ChildStdin,
    said: Receiver<Said>,
    complaints: Option<JoinHandle<String>>,
}

impl Supervised {
    fn start(mut command: Command, spec_line: &str) -> Outcome<Supervised> {
        let failed = |cause: &str| Failure::run(format!("a child could not be started: {cause}"));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|cause| failed(&cause.to_string()))?;
        let pipes = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .zip(child.stderr.take());
        let Some(((mut lifeline, out), err)) = pipes else {
            let _ = child.kill();
            return Err(failed("no pipes"));
        };
        // A child that died at once closes this pipe; listening tells why it died.
        let _ = lifeline
            .write_all(spec_line.as_bytes())
            .and_then(|()| lifeline.write_all(b"\n"));
        Ok(Supervised {
            child,
            _lifeline: lifeline,
            said: lines_of(out),
            complaints: Some(text_of(err)),
        })
    }

    fn listen(mut self, kill_at: Option<u64>, progress: &mut dyn FnMut(Heard)) -> Outcome<End> {
        let mut heard = Heard::default();
        let mut finished = None;
        let mut killed = false;
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(Said::At { received, sunk }) => {
                    heard = Heard { received, sunk };
                    if !killed && kill_at.is_some_and(|point| received >= point) {
                        killed = self.child.kill().is_ok();
                    }
                    progress(heard);
                }
                Ok(Said::Finished(measured)) => finished = Some(measured),
                Ok(Said::Failed(failure)) => return Err(failure),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(hangs(heard)),
            }
        }
        let status = self
            .child
            .wait()
            .map_err(|cause| Failure::run(format!("wait: {cause}")))?;
        match finished {
            Some(measured) => Ok(End::Finished(measured)),
            None if killed && died_by_signal_9(status) => Ok(End::Killed(heard)),
            None => Err(self.vanished(status)),
        }
    }

    /// A panic says why in its first lines.
    fn vanished(mut self, status: ExitStatus) -> Failure {
        let complaints = self.complaints.take().and_then(|thread| thread.join().ok());
        let complaints = complaints.unwrap_or_default();
        let first: Vec<&str> = complaints
            .lines()
            .filter(|line| !line.is_empty())
            .take(2)
            .collect();
        Failure::run(format!(
            "the child ended without a word ({status}); it wrote: {}",
            first.join(" ")
        ))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hangs(heard: Heard) -> Failure {
    Failure::run(format!(
        "no progress for {} s after {} records received and {} in the sink; killed",
        PATIENCE.as_secs(),
        heard.received,
        heard.sunk
    ))
}

#[cfg(unix)]
fn died_by_signal_9(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

#[cfg(not(unix))]
fn died_by_signal_9(status: ExitStatus) -> bool {
    !status.success()
}

/// What the child says, as it says it; a line that a kill cut short is dropped.
fn lines_of(out: ChildStdout) -> Receiver<Said> {
    let (said, hear) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Ok(word) = serde_json::from_str(&line)
                && said.send(word).is_err()
            {
                break;
            }
        }
    });
    hear
}

/// Everything the child writes to standard error, bounded.
fn text_of(err: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        let mut err = err;
        let _ = (&mut err).take(1 << 16).read_to_end(&mut text);
        // The rest is read and dropped, so that the child does not block.
        let _ = std::io::copy(&mut err, &mut std::io::sink());
        String::from_utf8_lossy(&text).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(script: &str, kill_at: Option<u64>) -> Outcome<End> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Supervised::start(command, "{}")?.listen(kill_at, &mut |_| ())
    }

    fn at(received: u64, sunk: u64) -> String {
        let said = serde_json::to_string(&Said::At { received, sunk }).unwrap();
        format!("echo '{said}';")
    }

    #[test]
    fn a_child_is_killed_at_the_count() {
        let script = format!("{} {} exec sleep 60", at(10, 5), at(20, 10));
        match listen(&script, Some(15)).unwrap() {
            End::Killed(heard) => assert_eq!(
                heard,
                Heard {
                    received: 20,
                    sunk: 10
                }
            ),
            End::Finished(_) => panic!("it sleeps"),
        }
    }

    #[test]
    fn a_death_that_was_not_ours_is_a_failure() {
        for (script, told) in [
            ("kill -9 $$".to_owned(), "signal: 9"),
            ("echo broken >&2; exit 3".to_owned(), "it wrote: broken"),
            (format!("{} exit 0", at(1, 1)), "exit status: 0"),
        ] {
            let failure = listen(&script, None).unwrap_err();
            assert!(failure.message.contains(told), "{failure}");
        }
    }

    #[test]
    fn a_failure_of_the_child_is_handed_on() {
        let said = Said::Failed(Failure::log("log: in use"));
        let script = format!(
            "echo '{}'; exec sleep 60",
            serde_json::to_string(&said).unwrap()
        );
        let failure = listen(&script, None).unwrap_err();
        assert_eq!(
            (failure.exit_code(), failure.message.as_str()),
            (5, "log: in use")
        );
    }

    #[test]
    fn a_child_dies_with_its_lifeline() {
        let mut command = Command::new("sh");
        // Ends when standard input does, as an arm does.
        command.args(["-c", "cat > /dev/null"]);
        let mut supervised = Supervised::start(command, "{}").unwrap();
        let Supervised {
            child, _lifeline, ..
        } = &mut supervised;
        assert!(child.try_wait().unwrap().is_none());
        // Closing it here stands for the death of this process.
        let mut other = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        *_lifeline = other.stdin.take().unwrap();
        assert!(child.wait().unwrap().success());
        other.wait().unwrap();
    }
}
