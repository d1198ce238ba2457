//! Why the harness stops: one line for a person, one exit code for a script.

use std::fmt;

use serde::{Deserialize, Serialize};
use wal_core::StorageError;

/// What kind of thing went wrong; `--help` documents the codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Anything that is none of the others.
    Run = 1,
    /// The command line.
    Usage = 2,
    /// The input file.
    Input = 3,
    /// The broker or the topic.
    Broker = 4,
    /// The directory of the logs, or a log in it.
    Log = 5,
    /// An arm that promises neither loss nor repeats broke its promise.
    Promise = 6,
}

/// One clear line that names the thing and says what to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        // One line, whatever a library put into its message.
        let message: String = message.into();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Failure { kind, message }
    }

    pub(crate) fn run(message: impl Into<String>) -> Self {
        Failure::new(Kind::Run, message)
    }

    pub(crate) fn input(message: impl Into<String>) -> Self {
        Failure::new(Kind::Input, message)
    }

    pub(crate) fn broker(message: impl Into<String>) -> Self {
        Failure::new(Kind::Broker, message)
    }

    pub(crate) fn log(message: impl Into<String>) -> Self {
        Failure::new(Kind::Log, message)
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<wal_core::Error> for Failure {
    fn from(error: wal_core::Error) -> Self {
        Failure::log(format!("log: {error}"))
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::log(format!("log: {error}"))
    }
}

impl From<wal_streaming::Error> for Failure {
    fn from(error: wal_streaming::Error) -> Self {
        use wal_streaming::Error;
        match error {
            Error::Log(cause) => cause.into(),
            Error::Source { .. } | Error::Missing { .. } => Failure::broker(error.to_string()),
            Error::Format { .. } | Error::Identity { .. } => Failure::log(error.to_string()),
            _ => Failure::run(error.to_string()),
        }
    }
}

/// The result of the harness's own functions.
pub(crate) type Outcome<T> = Result<T, Failure>;
