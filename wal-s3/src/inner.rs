//! What all calls of one storage share, and its tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use object_store::ObjectStore;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use wal_core::StorageError;

use crate::cache::{Cache, Fetched};
use crate::client::Client;
use crate::directory::Directory;
use crate::hedge::Hedging;
use crate::key::{Keys, Place};
use crate::locate::End;
use crate::object::{HEADER_BYTES, Header, Kind, Object};
use crate::options::Options;
use crate::put::{self, Created, foreign};
use crate::term::{Term, Upload};

/// Locks are taken in the order `term`, `directory`, `cache`, and never held across a wait.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) hedging: Hedging,
    pub(crate) keys: Keys,
    pub(crate) options: Options,
    pub(crate) runtime: Handle,
    pub(crate) term: Mutex<Option<Term>>,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) cache: Mutex<Cache>,
    /// Where the log ended when it was last looked at, by who has not the writer's role.
    pub(crate) end: tokio::sync::Mutex<Option<End>>,
    /// Nothing is known to lie at or behind this place.
    pub(crate) seen_end: Mutex<Place>,
    /// The next hint is written when so much is confirmed; none while one is on its way.
    pub(crate) next_hint: Mutex<Option<u64>>,
    /// Where reads ended lately.
    pub(crate) reads: Mutex<crate::read::Reads>,
    pub(crate) footers: Mutex<crate::read::Footers>,
    /// What lies at each place of a log that is damaged; `None` as long as nobody salvages it.
    pub(crate) rescued: Mutex<Option<BTreeMap<Place, Header>>>,
    /// What lies before the trim point is being deleted.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
}

impl Inner {
    pub(crate) fn new(
        keys: Keys,
        store: Arc<dyn ObjectStore>,
        options: Options,
        runtime: Handle,
    ) -> Result<Inner, StorageError> {
        options.validate()?;
        Ok(Inner {
            keys,
            client: Client::new(store, &options),
            hedging: Hedging::new(options.hedge),
            runtime,
            term: Mutex::default(),
            directory: Mutex::default(),
            cache: Mutex::new(Cache::new(options.cache_bytes)),
            end: tokio::sync::Mutex::default(),
            seen_end: Mutex::default(),
            next_hint: Mutex::new(None),
            reads: Mutex::default(),
            footers: Mutex::default(),
            rescued: Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
            options,
        })
    }

    /// An object, whole: from memory, or from a request that is under way already, or a new one.
    pub(crate) fn fetch(self: &Arc<Self>, place: Place) -> Fetched {
        let mut cache = self.cache.lock();
        if let Some(fetched) = cache.get(place) {
            return fetched;
        }
        let inner = Arc::clone(self);
        let task = self.runtime.spawn(async move {
            let found = inner.download(place).await;
            // The entry is there already: it was made under the lock that is taken here.
            match &found {
                Ok(Some(object)) => inner.cache.lock().arrived(place, object),
                _ => inner.cache.lock().remove(place),
            }
            found
        });
        let fetched = async move { task.await.map_err(stopped)? };
        let fetched = fetched.boxed().shared();
        cache.begin(place, fetched.clone());
        fetched
    }

    async fn download(&self, place: Place) -> Result<Option<Arc<Object>>, StorageError> {
        let path = self.keys.object(place);
        let Some(bytes) = self.client.get(&path).await? else {
            return Ok(None);
        };
        let object = match self.rescued(place) {
            Some(header) => Object::damaged(header, &bytes),
            None => Object::decode(&bytes).map_err(|why| foreign(&path, &why.to_string()))?,
        };
        if object.header.place != place {
            let why = format!("it says that it belongs at {}", object.header.place);
            return Err(foreign(&path, &why));
        }
        Ok(Some(Arc::new(object)))
    }

    /// The header of an object, if it is there.
    pub(crate) async fn look(&self, place: Place) -> Result<Option<Header>, StorageError> {
        if let Some(object) = self.cache.lock().peek(place) {
            return Ok(Some(object.header));
        }
        let path = self.keys.object(place);
        let found = self.client.get_first(&path, HEADER_BYTES as u64).await?;
        let Some((bytes, size)) = found else {
            return Ok(None);
        };
        let header = put::decode(&path, &bytes).and_then(|header| match header.fits(place, size) {
            true => Ok(header),
            false => Err(foreign(&path, "its place or its size is not what it says")),
        });
        self.rescued(place).map_or(header, Ok).map(Some)
    }

    /// Stores an object of this writer's term; returns when it is stored, whatever lies before
    /// it. Any failure ends the term (G5).
    pub(crate) async fn upload(self: &Arc<Self>, upload: Upload) -> Result<(), StorageError> {
        let path = self.keys.object(upload.place);
        self.cache.lock().keep(upload.place, upload.object);
        let created = put::create(
            &self.client,
            &self.hedging,
            &path,
            &upload.header,
            upload.payload,
        );
        let outcome = match created.await {
            Ok(Created::Mine) => Ok(()),
            Ok(Created::Other(header)) if header.kind == Kind::Seal => {
                Err(self.fenced(upload.place).await)
            }
            Ok(Created::Other(header)) => Err(foreign(
                &path,
                &format!("writer {:032x} has stored an object there", header.writer),
            )),
            Err(cause) => Err(cause),
        };
        let mut term = self.term.lock();
        if let Some(term) = term
            .as_mut()
            .filter(|term| term.epoch == upload.place.epoch)
        {
            match &outcome {
                Ok(()) => term.stored(upload.place.seq),
                Err(cause) => term.fail(cause),
            }
        }
        drop(term);
        if outcome.is_ok() {
            self.hint();
        } else {
            self.cache.lock().remove(upload.place);
        }
        outcome
    }

    /// Says who has sealed this place.
    async fn fenced(&self, place: Place) -> StorageError {
        let path = self.keys.object(place);
        let seal = self.client.get(&path).await.ok().flatten();
        let seal = seal.and_then(|bytes| Object::decode(&bytes).ok());
        let who = seal.map_or_else(String::new, |seal| {
            let label = String::from_utf8_lossy(&seal.extra).into_owned();
            format!(" by {label} (writer {:032x})", seal.header.writer)
        });
        StorageError::Fenced(format!(
            "the log at {} was taken over{who}, which has sealed epoch {} at {place}; what was \
             acknowledged until now is in its log",
            self.keys, place.epoch
        ))
    }

    /// Waits until everything of the term up to and including `seq` is confirmed.
    pub(crate) async fn confirmed(&self, seq: u64) -> Result<(), StorageError> {
        let ended = || StorageError::InUse("the writer's role was given up".into());
        let progress = self
            .term
            .lock()
            .as_ref()
            .map(|term| term.progress.subscribe());
        let mut progress = progress.ok_or_else(ended)?;
        loop {
            match &*progress.borrow_and_update() {
                Ok(confirmed) if *confirmed > seq => return Ok(()),
                Ok(_) => {}
                Err(cause) => return Err(cause.clone()),
            }
            progress.changed().await.map_err(|_| ended())?;
        }
    }
}

/// The runtime was shut down.
pub(crate) fn stopped(cause: tokio::task::JoinError) -> StorageError {
    StorageError::io("a task of wal-s3", std::io::Error::other(cause))
}

/// A fresh identity.
pub(crate) fn random_id() -> Result<u128, StorageError> {
    let mut random = [0; 16];
    let failed = |cause| {
        let cause = std::io::Error::other(format!("{cause}"));
        StorageError::io("asking the system for random bytes", cause)
    };
    getrandom::fill(&mut random).map_err(failed)?;
    Ok(u128::from_le_bytes(random))
}
