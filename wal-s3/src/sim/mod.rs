//! A simulated object store.
//!
//! [`SimStore`] is an [`ObjectStore`](object_store::ObjectStore) in memory, for tests and
//! benchmarks. Several clients, each standing for a process, share one bucket. What is simulated:
//!
//! - *Effect within the latency.* A request takes effect, all at once, at a moment between its
//!   start and its answer: what `PutMode::Create` finds, it finds then. Of a PUT the transfer comes
//!   before that moment, of a GET after it. A LIST looks anew for each page of 1,000 keys.
//! - *Doubtful outcomes* ([`Faults`]): stored but answered with an error, an error and stored
//!   later, no answer at all, conflicts out of nothing, stale listings, and stores that do not
//!   honour create-if-absent.
//! - *Processes that stop, lose their network, or die* ([`SimStore::pause`], [`cut`](SimStore::cut),
//!   [`kill`](SimStore::kill)). A request whose future is dropped before it took effect, as by a
//!   client's timeout, is lost or still takes effect when it would have.
//!
//! Everything random comes from the seed; on one thread and with tokio's paused clock a run repeats
//! exactly. All time is tokio's. Its timer counts in milliseconds: the latency of a single request
//! is off by up to a millisecond, in real time also by what the machine lets it wait; on average
//! latencies are right, since sleeps aim earlier by as much as those before woke late.
//!
//! Not simulated: a limit of connections or of requests a second, multipart uploads, copies,
//! `PutMode::Update`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

mod bucket;
mod client;
mod delayed;
mod faults;
mod latency;
mod random;
mod request;
mod store;

use bucket::{Bucket, Effect};
use client::{Client, State};
use random::Random;

pub use delayed::Delayed;
pub use faults::Faults;
pub use latency::{Latency, Profile};

/// A client of a simulated bucket. Clones are the same client.
#[derive(Clone)]
pub struct SimStore {
    shared: Arc<Shared>,
    client: Arc<Client>,
    profile: Profile,
}

struct Shared {
    seed: u64,
    founded: Instant,
    bucket: Mutex<Bucket>,
}

/// How many requests were made to a bucket, by all its clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// PUTs.
    pub puts: u64,
    /// GETs, with a range or without.
    pub gets: u64,
    /// HEADs.
    pub heads: u64,
    /// LISTs, one for each page of 1,000 keys.
    pub lists: u64,
    /// DELETEs, one for up to 1,000 keys deleted together.
    pub deletes: u64,
    /// Bytes of what was put, whether it was stored or not.
    pub bytes_up: u64,
    /// Bytes of what was got.
    pub bytes_down: u64,
}

impl Requests {
    /// What was added since `earlier`.
    pub fn since(&self, earlier: Requests) -> Requests {
        Requests {
            puts: self.puts.saturating_sub(earlier.puts),
            gets: self.gets.saturating_sub(earlier.gets),
            heads: self.heads.saturating_sub(earlier.heads),
            lists: self.lists.saturating_sub(earlier.lists),
            deletes: self.deletes.saturating_sub(earlier.deletes),
            bytes_up: self.bytes_up.saturating_sub(earlier.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(earlier.bytes_down),
        }
    }
}

/// Clients and what becomes of them.
impl SimStore {
    /// An empty bucket without latency or faults, and its first client.
    pub fn new(seed: u64) -> SimStore {
        SimStore::over(seed, Bucket::default())
    }

    fn over(seed: u64, bucket: Bucket) -> SimStore {
        SimStore {
            shared: Arc::new(Shared {
                seed,
                founded: Instant::now(),
                bucket: Mutex::new(bucket),
            }),
            client: Arc::new(Client::new("first", Random::new(seed))),
            profile: Profile::NONE,
        }
    }

    /// This client with the latencies of `profile`, which clients made from it have too.
    pub fn with_profile(self, profile: Profile) -> SimStore {
        SimStore { profile, ..self }
    }

    /// Another client of the same bucket, without faults.
    pub fn client(&self, name: &str) -> SimStore {
        let mut bucket = self.shared.bucket.lock();
        bucket.clients += 1;
        let random = Random::derive(self.shared.seed, name, bucket.clients);
        SimStore {
            shared: Arc::clone(&self.shared),
            client: Arc::new(Client::new(name, random)),
            profile: self.profile,
        }
    }

    /// From now on this goes wrong with the requests of this client.
    pub fn set_faults(&self, faults: Faults) {
        self.client.set_faults(faults);
    }

    /// Stops this client: its requests, begun or under way, take effect only after `resume`.
    pub fn pause(&self) {
        self.client.become_(State::Paused);
    }

    /// Lets this client go on after `pause` or `cut`. What was killed stays so.
    pub fn resume(&self) {
        self.client.become_(State::Runs);
    }

    /// The network of this client is gone: its requests fail. Those under way take effect or not.
    pub fn cut(&self) {
        self.client.become_(State::Cut);
        self.cut_off();
    }

    /// This process is gone: the futures of its requests under way never complete, and each takes
    /// effect or not. What it asks for later is refused, so that what is left of it ends soon.
    pub fn kill(&self) {
        self.client.become_(State::Killed);
        self.cut_off();
    }

    fn cut_off(&self) {
        let mut bucket = self.shared.bucket.lock();
        bucket.cut_off(&self.client, || self.client.coin());
    }
}

/// Looking into the bucket, and tampering with it, which takes no time and is not counted.
impl SimStore {
    /// How many requests there were since the bucket was made.
    pub fn requests(&self) -> Requests {
        self.shared.bucket.lock().counters
    }

    /// All keys in order, with the sizes of the objects.
    pub fn keys(&self) -> Vec<(String, u64)> {
        self.look(|bucket| {
            let sized = |(key, object): (&String, &bucket::Object)| {
                (key.clone(), object.bytes.len() as u64)
            };
            bucket.beyond("").map(sized).collect()
        })
    }

    /// What is stored at a key.
    pub fn raw(&self, key: &str) -> Option<Bytes> {
        self.look(|bucket| bucket.get(key).map(|object| object.bytes.clone()))
    }

    /// Flips the bits `xor` of the byte `at`. False: there is no such byte.
    pub fn damage(&self, key: &str, at: usize, xor: u8) -> bool {
        self.look(|bucket| {
            let Some(object) = bucket.get_mut(key) else {
                return false;
            };
            let mut bytes = object.bytes.to_vec();
            let Some(byte) = bytes.get_mut(at) else {
                return false;
            };
            *byte ^= xor;
            object.bytes = bytes.into();
            true
        })
    }

    /// Loses an object. False: there was none.
    pub fn remove(&self, key: &str) -> bool {
        self.look(|bucket| {
            let there = bucket.get(key).is_some();
            bucket.apply(Effect::Delete {
                key: key.to_owned(),
            });
            there
        })
    }

    /// Puts an object there, whatever is there now.
    pub fn insert(&self, key: &str, bytes: Bytes) {
        let key = key.to_owned();
        self.look(|bucket| {
            bucket.apply(Effect::Put {
                key,
                bytes,
                create: false,
            })
        });
    }

    /// A new bucket with the same objects, without the clients of this one and their requests.
    pub fn fork(&self, seed: u64) -> SimStore {
        let copy = self.look(|bucket| Bucket::copy_of(bucket));
        SimStore::over(seed, copy).with_profile(self.profile)
    }

    /// The bucket as it is now, with all that took effect while nobody looked.
    fn look<T>(&self, at: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut bucket = self.shared.bucket.lock();
        bucket.settle();
        at(&mut bucket)
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimStore({})", self.client.name)
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimStore")
            .field("client", &self.client.name)
            .field("seed", &self.shared.seed)
            .field("requests", &self.requests())
            .finish_non_exhaustive()
    }
}
