//! Whether a store keeps the one promise that everything here rests on: of many who create an
//! object of one name, one succeeds, and it stays that one's.

use std::sync::Arc;

use futures_util::future::join_all;
use object_store::PutPayload;
use object_store::path::Path;
use wal_core::StorageError;
use wal_core::planted::planted;

use crate::client::Failed;
use crate::inner::{Inner, random_id};

const RACERS: u8 = 16;
/// Attempts after errors that prove nothing.
const ATTEMPTS: u32 = 5;

impl Inner {
    /// Tries it: twice the same name, then many at once. Refuses a store that fails, and says
    /// what was seen.
    pub(crate) async fn probe(self: &Arc<Self>) -> Result<(), StorageError> {
        let name = random_id()?;
        let paths: Vec<Path> = (0..ATTEMPTS)
            .flat_map(|n| {
                [
                    format!("{name:032x}-{n}-twice"),
                    format!("{name:032x}-{n}-race"),
                ]
            })
            .map(|name| self.keys.probe(&name))
            .collect();
        let mut used = Vec::new();
        let mut outcome = Err(self.unfit("every attempt to try it failed"));
        for pair in paths.chunks(2) {
            used.extend_from_slice(pair);
            let [twice, race] = pair else { continue };
            let (twice, race) = tokio::join!(self.create_twice(twice), self.race(race));
            match (twice?, race?) {
                _ if planted("probe-not-believed") => {
                    outcome = Ok(());
                    break;
                }
                (Some(why), _) | (_, Some(why)) if !why.is_empty() => {
                    outcome = Err(self.unfit(&why));
                    break;
                }
                (None, None) => {
                    outcome = Ok(());
                    break;
                }
                _ => {} // in doubt
            }
        }
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            if let Err(why) = inner.client.delete(used).await {
                tracing::warn!(log = %inner.keys, %why, "probes could not be deleted");
            }
        });
        outcome
    }

    /// `None`: as it should be; the empty string: in doubt; else what was wrong.
    async fn create_twice(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let first = self.probe_create(path, 1).await?;
        let second = self.probe_create(path, 2).await?;
        Ok(match (first, second) {
            (Some(true), Some(false)) => None,
            (Some(true), Some(true)) => {
                Some("an object that existed was created a second time".into())
            }
            (_, Some(false)) if self.client.get(path, None).await?.is_some() => None,
            _ => Some(String::new()),
        })
    }

    async fn race(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let racers = (0..RACERS).map(|racer| self.probe_create(path, racer));
        let (mut winners, mut doubtful) = (Vec::new(), Vec::new());
        for (racer, outcome) in (0..RACERS).zip(join_all(racers).await) {
            match outcome? {
                Some(true) => winners.push(racer),
                Some(false) => {}
                None => doubtful.push(racer),
            }
        }
        let found = self.client.get(path, None).await?;
        let found = found.and_then(|bytes| bytes.first().copied());
        Ok(match (winners.as_slice(), found) {
            ([winner], Some(found)) if found == *winner => None,
            ([], Some(found)) if doubtful.contains(&found) => None,
            ([], None) => Some(String::new()),
            ([], Some(found)) => Some(format!(
                "of {RACERS} who created one object at once, number {found} did, and was told \
                 that it had not"
            )),
            ([winner], found) => Some(format!(
                "of {RACERS} who created one object at once, number {winner} was told that it \
                 had, but what is there is {found:?}"
            )),
            (many, _) => Some(format!(
                "of {RACERS} who created one object at once, {} were told that they had",
                many.len()
            )),
        })
    }

    /// Whether this one created it; `None` if that is in doubt.
    async fn probe_create(&self, path: &Path, tag: u8) -> Result<Option<bool>, StorageError> {
        let refused = |why: &str| {
            let cause = std::io::Error::other(why.to_owned());
            StorageError::io(
                format!("opening the log at {} for writing", self.keys),
                cause,
            )
        };
        match self.client.create(path, PutPayload::from(vec![tag])).await {
            Ok(()) => Ok(Some(true)),
            Err(Failed::Taken) => Ok(Some(false)),
            Err(Failed::Doubtful(why)) => {
                let mut patience = self.client.patience(|| format!("trying {path}"));
                patience.after(Failed::Doubtful(why)).await?;
                Ok(None)
            }
            Err(Failed::Missing) => Err(refused("there is no such bucket or container")),
            Err(Failed::Refused(why)) => Err(refused(&why)),
        }
    }

    fn unfit(&self, why: &str) -> StorageError {
        let why = format!(
            "this store does not honour create-if-absent, on which a log relies: {why}. \
             docs/STORES.md lists stores that do"
        );
        let doing = format!("trying the store of the log at {}", self.keys);
        StorageError::io(doing, std::io::Error::other(why))
    }
}
