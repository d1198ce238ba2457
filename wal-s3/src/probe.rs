//! Whether a store keeps the one promise that everything here rests on: of many who create an
//! object of one name, one succeeds, and it stays that one's.

use std::sync::Arc;

use futures_util::future::join_all;
use object_store::PutPayload;
use object_store::path::Path;
use wal_core::StorageError;
use wal_core::planted::planted;

use crate::client::{Failed, no_bucket};
use crate::inner::{Inner, random_id};

const RACERS: u8 = 16;

/// What an attempt has shown.
enum Seen {
    Fit,
    /// Nothing: requests failed.
    Nothing(String),
    /// The store broke the promise.
    Unfit(String),
}

impl Inner {
    /// Tries it: twice the same name, then many at once, until requests go through. Refuses a
    /// store that fails, and says what was seen.
    pub(crate) async fn probe(self: &Arc<Self>) -> Result<(), StorageError> {
        let name = random_id()?;
        let mut used = Vec::new();
        let outcome = self.probe_until_seen(name, &mut used).await;
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(why) = inner.client.delete(used).await {
                tracing::warn!(log = %inner.keys, %why, "probes could not be deleted");
            }
        });
        outcome
    }

    async fn probe_until_seen(&self, name: u128, used: &mut Vec<Path>) -> Result<(), StorageError> {
        let mut patience = self.client.short_patience(|| "trying the store".to_owned());
        for attempt in 0u64.. {
            let path = |what| self.keys.probe(&format!("{name:032x}-{attempt}-{what}"));
            let (twice, race) = (path("twice"), path("race"));
            used.extend([twice.clone(), race.clone()]);
            let why = match tokio::join!(self.create_twice(&twice), self.race(&race)) {
                (Err(cause), _) | (_, Err(cause)) => return Err(cause),
                _ if planted("probe-not-believed") => break,
                (Ok(Seen::Unfit(why)), _) | (_, Ok(Seen::Unfit(why))) => {
                    return Err(self.unfit(&why));
                }
                (Ok(Seen::Nothing(why)), _) | (_, Ok(Seen::Nothing(why))) => why,
                (Ok(Seen::Fit), Ok(Seen::Fit)) => break,
            };
            patience.after(Failed::Doubtful(why)).await?;
        }
        Ok(())
    }

    async fn create_twice(&self, path: &Path) -> Result<Seen, StorageError> {
        let first = self.probe_create(path, 1).await?;
        let second = self.probe_create(path, 2).await?;
        Ok(match (first, second) {
            (Ok(true), Ok(false)) => Seen::Fit,
            (Ok(true), Ok(true)) => {
                Seen::Unfit("an object that existed was created a second time".into())
            }
            (_, Ok(false)) if self.client.get(path).await?.is_some() => Seen::Fit,
            (Err(why), _) | (_, Err(why)) => Seen::Nothing(why),
            _ => Seen::Nothing("conflicts where there was nothing".into()),
        })
    }

    async fn race(&self, path: &Path) -> Result<Seen, StorageError> {
        let racers = (0..RACERS).map(|racer| self.probe_create(path, racer));
        let (mut winners, mut doubtful, mut why) = (Vec::new(), Vec::new(), None);
        for (racer, outcome) in (0..RACERS).zip(join_all(racers).await) {
            match outcome? {
                Ok(true) => winners.push(racer),
                Ok(false) => {}
                Err(failed) => {
                    doubtful.push(racer);
                    why = Some(failed);
                }
            }
        }
        let found = self.client.get(path).await?;
        let found = found.and_then(|bytes| bytes.first().copied());
        let unfit = |seen: String| {
            Seen::Unfit(format!(
                "of {RACERS} who created one object at once, {seen}"
            ))
        };
        Ok(match (winners.as_slice(), found) {
            ([winner], Some(found)) if found == *winner => Seen::Fit,
            ([], Some(found)) if doubtful.contains(&found) => Seen::Fit,
            ([], None) => Seen::Nothing(why.unwrap_or_else(|| "conflicts without cause".into())),
            ([], Some(found)) => unfit(format!("number {found} did, and was told that it had not")),
            ([winner], found) => unfit(format!(
                "number {winner} was told that it had, but what is there is {found:?}"
            )),
            (many, _) => unfit(format!("{} were told that they had", many.len())),
        })
    }

    /// Whether this one created it; an inner error if that is in doubt.
    async fn probe_create(
        &self,
        path: &Path,
        tag: u8,
    ) -> Result<Result<bool, String>, StorageError> {
        let refused = |why: &str| {
            let cause = std::io::Error::other(why.to_owned());
            StorageError::io("trying the store", cause)
        };
        match self.client.create(path, PutPayload::from(vec![tag])).await {
            Ok(()) => Ok(Ok(true)),
            Err(Failed::Taken | Failed::Met(_)) => Ok(Ok(false)),
            Err(Failed::Doubtful(why)) => Ok(Err(why)),
            Err(Failed::Missing(why)) => Err(refused(&no_bucket(&why))),
            Err(Failed::Refused(why)) => Err(refused(&why)),
        }
    }

    fn unfit(&self, why: &str) -> StorageError {
        let why = format!(
            "this store does not honour create-if-absent, on which a log relies: {why}. \
             docs/STORES.md lists stores that do"
        );
        StorageError::io("trying the store", std::io::Error::other(why))
    }
}
