//! Requests to the store: counted, capped, timed out, repeated.
//!
//! A download, a listing or a deletion that fails may be repeated as it is. An upload may not:
//! [`put`](crate::put) has to find out what became of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, PutMode, PutOptions, PutPayload,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use wal_core::StorageError;

use crate::advice::without_object;
use crate::options::Options;
use crate::requests::{Counters, add, add_time};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Something has that name, or the store says so.
    Taken,
    /// Something has that name; this is its header.
    Met(Bytes),
    /// There is no such object; for what does not name one, no such bucket.
    Missing(String),
    /// It may work another time, or may have worked: nobody knows.
    Doubtful(String),
    /// It never will.
    Refused(String),
}

impl Failed {
    fn of(error: &Error) -> Failed {
        let why = lines(error);
        match error {
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Failed::Taken,
            Error::NotFound { .. } => Failed::Missing(why),
            Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::InvalidPath { .. }
            | Error::UnknownConfigurationKey { .. } => Failed::Refused(why),
            // `object_store` has no kinds for a listing's errors, but its words tell.
            Error::Generic { .. } if says_status(&why, &["401", "403"]) => Failed::Refused(why),
            Error::Generic { .. } if says_status(&why, &["404"]) => Failed::Missing(why),
            _ => Failed::Doubtful(why),
        }
    }
}

fn says_status(why: &str, any: &[&str]) -> bool {
    let said = why.split_once("status code: ").map(|(_, said)| said);
    said.is_some_and(|said| any.iter().any(|status| said.starts_with(status)))
}

pub(crate) fn no_bucket(why: &str) -> String {
    format!("there is no such bucket or container, or it is not yours: {why}")
}

/// One line of what a store said, with its causes; bodies of answers are cut short.
fn lines(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    let text = without_object(&text).replace(['\n', '\r'], " ");
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}

/// What all requests of one storage share.
#[derive(Debug)]
pub(crate) struct Client {
    store: Arc<dyn ObjectStore>,
    pub(crate) counters: Counters,
    timeout: Duration,
    retry_for: Duration,
    /// The same as long as the store has never answered: perhaps there is none.
    first_answer_within: Duration,
    answered: AtomicBool,
    /// The distance between requests, and when the next may be sent.
    cap: Option<(Duration, Mutex<Instant>)>,
}

impl Client {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, options: &Options) -> Self {
        let cap = options.requests_per_second.map(|cap| {
            let distance = Duration::from_secs(1) / cap.max(1);
            (distance, Mutex::new(Instant::now()))
        });
        Client {
            store,
            counters: Counters::default(),
            timeout: options.request_timeout,
            retry_for: options.retry_for,
            first_answer_within: options.first_answer_within.min(options.retry_for),
            answered: AtomicBool::new(false),
            cap,
        }
    }

    /// Sends one request, when the cap allows it.
    async fn send<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Failed> {
        self.turn().await;
        let outcome = match timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|error| Failed::of(&error)),
            Err(_) => Err(Failed::Doubtful(format!(
                "no answer within {:?}",
                self.timeout
            ))),
        };
        if matches!(outcome, Ok(_) | Err(Failed::Taken | Failed::Missing(_))) {
            self.answered.store(true, Ordering::Relaxed);
        }
        outcome
    }

    async fn turn(&self) {
        let Some((distance, next)) = &self.cap else {
            return;
        };
        let (now, at) = {
            let mut next = next.lock();
            let now = Instant::now();
            let at = (*next).max(now);
            *next = at + *distance;
            (now, at)
        };
        if at > now {
            sleep_until(at).await;
            add_time(&self.counters.capped_micros, at - now);
        }
    }

    /// Creates an object, once. `Doubtful` and `Taken` say nothing of what is there now.
    pub(crate) async fn create(&self, path: &Path, payload: PutPayload) -> Result<(), Failed> {
        self.put(path, payload, PutMode::Create).await
    }

    /// Creates or replaces an object, once.
    pub(crate) async fn replace(&self, path: &Path, payload: PutPayload) -> Result<(), Failed> {
        self.put(path, payload, PutMode::Overwrite).await
    }

    async fn put(&self, path: &Path, payload: PutPayload, mode: PutMode) -> Result<(), Failed> {
        add(&self.counters.puts, 1);
        add(&self.counters.bytes_up, payload.content_length() as u64);
        let options = PutOptions::from(mode);
        self.send(self.store.put_opts(path, payload, options))
            .await
            .map(|_| ())
    }

    /// Reads an object whole; `None` if it is not there.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>, StorageError> {
        let found = self.get_part(path, None).await?;
        Ok(found.map(|(bytes, _)| bytes))
    }

    /// Reads an object's first bytes; tells its size, too.
    pub(crate) async fn get_first(
        &self,
        path: &Path,
        bytes: u64,
    ) -> Result<Option<(Bytes, u64)>, StorageError> {
        self.get_part(path, Some(bytes)).await
    }

    async fn get_part(
        &self,
        path: &Path,
        first: Option<u64>,
    ) -> Result<Option<(Bytes, u64)>, StorageError> {
        let mut patience = self.patience(|| format!("reading {path}"));
        loop {
            add(&self.counters.gets, 1);
            let options = GetOptions {
                range: first.map(|bytes| GetRange::Bounded(0..bytes)),
                ..GetOptions::default()
            };
            let request = async {
                let found = self.store.get_opts(path, options).await?;
                let size = found.meta.size;
                Ok((found.bytes().await?, size))
            };
            match self.send(request).await {
                Ok((bytes, size)) => {
                    add(&self.counters.bytes_down, bytes.len() as u64);
                    return Ok(Some((bytes, size)));
                }
                Err(Failed::Missing(_)) => return Ok(None),
                Err(failed) => patience.after(failed).await?,
            }
        }
    }

    /// What is listed behind `after`, in order, `limit` objects at most.
    pub(crate) async fn list(
        &self,
        under: &Path,
        after: &Path,
        limit: usize,
    ) -> Result<Vec<ObjectMeta>, StorageError> {
        let mut patience = self.patience(|| format!("listing {under}"));
        loop {
            let listing = async {
                let mut found = Vec::new();
                let mut listed = self.store.list_with_offset(Some(under), after);
                while let Some(meta) = listed.next().await {
                    let meta = meta?;
                    // There are servers that begin at the beginning (azurite 3.35).
                    if meta.location > *after {
                        found.push(meta);
                    }
                    if found.len() == limit {
                        break;
                    }
                }
                Ok(found)
            };
            match self.send(listing).await {
                Ok(mut found) => {
                    add(&self.counters.lists, 1 + found.len() as u64 / 1000);
                    found.sort_by(|a, b| a.location.cmp(&b.location));
                    return Ok(found);
                }
                Err(failed) => {
                    add(&self.counters.lists, 1);
                    patience.after(failed).await?;
                }
            }
        }
    }

    /// Deletes what is there of these.
    pub(crate) async fn delete(&self, paths: Vec<Path>) -> Result<(), StorageError> {
        let Some(first) = paths.first().cloned() else {
            return Ok(());
        };
        let mut patience = self.patience(|| format!("deleting {first} and others"));
        loop {
            add(&self.counters.deletes, paths.len() as u64);
            let given: Vec<Result<Path, Error>> = paths.iter().cloned().map(Ok).collect();
            let given: BoxStream<'static, Result<Path, Error>> =
                futures_util::stream::iter(given).boxed();
            let deleting = async {
                let mut deleted = self.store.delete_stream(given);
                while let Some(outcome) = deleted.next().await {
                    match outcome {
                        Ok(_) | Err(Error::NotFound { .. }) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            };
            match self.send(deleting).await {
                Ok(()) => return Ok(()),
                Err(failed) => patience.after(failed).await?,
            }
        }
    }

    /// How long what is being done may go on failing.
    pub(crate) fn patience(&self, doing: impl Fn() -> String) -> Patience<'_> {
        Patience {
            client: self,
            doing: doing(),
            since: Instant::now(),
            pause: FIRST_PAUSE,
            short: false,
        }
    }

    /// The same for what tells whether the store is fit at all.
    pub(crate) fn short_patience(&self, doing: impl Fn() -> String) -> Patience<'_> {
        Patience {
            short: true,
            ..self.patience(doing)
        }
    }
}

/// Growing pauses between attempts, and an end to them.
pub(crate) struct Patience<'a> {
    client: &'a Client,
    doing: String,
    since: Instant,
    pause: Duration,
    short: bool,
}

impl Patience<'_> {
    /// Waits before the next attempt; an error if there is to be none.
    pub(crate) async fn after(&mut self, failed: Failed) -> Result<(), StorageError> {
        let why = match failed {
            Failed::Refused(why) => return Err(self.give_up(&why)),
            Failed::Missing(why) => return Err(self.give_up(&no_bucket(&why))),
            Failed::Taken | Failed::Met(_) => {
                "the store reports a conflict where there is none".to_owned()
            }
            Failed::Doubtful(why) => why,
        };
        let lasts = match !self.short && self.client.answered.load(Ordering::Relaxed) {
            true => self.client.retry_for,
            false => self.client.first_answer_within,
        };
        if self.since.elapsed() + self.pause > lasts {
            return Err(self.give_up(&why));
        }
        tracing::debug!(doing = self.doing, why, pause = ?self.pause, "a request failed");
        // Jitter of a quarter, so that many who failed together do not come back together.
        let random = getrandom::u32().unwrap_or(0) % 1024;
        let pause = self.pause * 7 / 8 + self.pause * random / 4096;
        add(&self.client.counters.retries, 1);
        add_time(&self.client.counters.backoff_micros, pause);
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    fn give_up(&self, why: &str) -> StorageError {
        StorageError::io(self.doing.clone(), std::io::Error::other(why.to_owned()))
    }
}
