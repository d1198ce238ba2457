//! When an upload is sent a second time, because the first request takes unusually long.
//!
//! J. Dean and L. A. Barroso, "The Tail at Scale" (2013): the slowest tenth of requests is slow
//! by accident, and a second one is most likely not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use object_store::PutPayload;
use object_store::path::Path;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Failed};
use crate::object::HEADER_BYTES;
use crate::options::Hedge;
use crate::requests::add;

/// So many uploads are remembered.
const SAMPLES: usize = 128;
/// Fewer say nothing.
const ENOUGH: usize = 16;
/// One byte in so many may be sent twice.
const BUDGET: u64 = 8;

#[derive(Debug, Default)]
pub(crate) struct Hedging {
    on: bool,
    recent: Mutex<Recent>,
    sent: AtomicU64,
    sent_twice: AtomicU64,
}

#[derive(Debug, Default)]
struct Recent {
    took: Vec<Duration>,
    next: usize,
    /// Nine of ten took no longer.
    usual: Option<Duration>,
}

impl Hedging {
    pub(crate) fn new(hedge: Hedge) -> Self {
        Hedging {
            on: hedge == Hedge::Adaptive,
            ..Hedging::default()
        }
    }

    /// Sends an upload once, or twice.
    pub(crate) async fn create(
        &self,
        client: &Client,
        path: &Path,
        payload: PutPayload,
    ) -> Result<(), Failed> {
        let begun = Instant::now();
        let bytes = payload.content_length() as u64;
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        let outcome = match self.patience(bytes) {
            None => client.create(path, payload).await,
            Some(patience) => self.race(client, path, payload, patience).await,
        };
        if self.on && outcome.is_ok() {
            self.recent.lock().add(begun.elapsed());
        }
        outcome
    }

    async fn race(
        &self,
        client: &Client,
        path: &Path,
        payload: PutPayload,
        patience: Duration,
    ) -> Result<(), Failed> {
        let mut first = std::pin::pin!(client.create(path, payload.clone()));
        tokio::select! {
            outcome = &mut first => return outcome,
            () = sleep(patience) => {}
        }
        let bytes = payload.content_length() as u64;
        self.sent_twice.fetch_add(bytes, Ordering::Relaxed);
        add(&client.counters.hedges, 1);
        let mut second = std::pin::pin!(client.create(path, payload));
        // Either may have stored it: `Taken` sends the caller to look, and where the first has, the
        // second comes too late, while the answer to the first is on its way.
        tokio::select! {
            outcome = &mut first => match outcome {
                Err(Failed::Doubtful(_)) => second.await,
                outcome => outcome,
            },
            outcome = &mut second => match outcome {
                Err(Failed::Doubtful(_)) => first.await,
                Err(Failed::Taken) => {
                    tokio::select! {
                        outcome = &mut first => outcome,
                        found = client.get_first(path, HEADER_BYTES as u64) => match found {
                            Ok(Some((found, _))) => Err(Failed::Met(found)),
                            _ => first.await,
                        },
                    }
                }
                outcome => outcome,
            },
        }
    }

    /// How long to wait before the second request; `None` for ever.
    fn patience(&self, bytes: u64) -> Option<Duration> {
        if !self.on {
            return None;
        }
        let twice = self.sent_twice.load(Ordering::Relaxed) + bytes;
        let affordable = twice <= self.sent.load(Ordering::Relaxed) / BUDGET;
        self.recent.lock().usual.filter(|_| affordable)
    }
}

impl Recent {
    fn add(&mut self, took: Duration) {
        match self.took.get_mut(self.next) {
            Some(slot) => *slot = took,
            None => self.took.push(took),
        }
        self.next = (self.next + 1) % SAMPLES;
        if self.next.is_multiple_of(ENOUGH) {
            let mut sorted = self.took.clone();
            sorted.sort_unstable();
            self.usual = sorted.get(sorted.len() * 9 / 10).copied();
        }
    }
}

#[cfg(test)]
mod races;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_tenth_is_hedged_and_within_the_budget() {
        let hedging = Hedging::new(Hedge::Adaptive);
        assert_eq!(hedging.patience(1), None, "nothing is known yet");
        for millis in 1..=SAMPLES as u64 {
            hedging.recent.lock().add(Duration::from_millis(millis));
        }
        hedging.sent.store(8000, Ordering::Relaxed);
        assert_eq!(hedging.patience(1000), Some(Duration::from_millis(116)));
        assert_eq!(hedging.patience(1001), None, "more than one byte in eight");
        assert_eq!(Hedging::new(Hedge::Off).patience(1), None);
    }
}
