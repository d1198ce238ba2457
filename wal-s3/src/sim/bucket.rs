//! What all clients share: the objects, and the requests that are on their way to them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::time::Instant;

use super::Requests;
use super::client::Client;

/// An object as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    /// Counts what was ever stored in the bucket; the ETag.
    pub(super) version: u64,
    created: Instant,
}

/// A change that a request makes when it takes effect.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Put {
        key: String,
        bytes: Bytes,
        create: bool,
    },
    Delete {
        key: String,
    },
}

/// When a change that nobody waits for takes effect: whatever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Instant,
    /// When so many requests have been made to the bucket.
    pub(super) requests: u64,
}

/// A change on its way, of `client`.
#[derive(Debug)]
struct Flight {
    client: Arc<Client>,
    due: Due,
    effect: Effect,
}

#[derive(Debug, Default)]
pub(super) struct Bucket {
    objects: BTreeMap<String, Object>,
    versions: u64,
    /// Changes whose requests somebody waits for: they take effect when the waiter says so.
    under_way: HashMap<u64, Flight>,
    flights: u64,
    /// Changes that nobody waits for any more: made by the next look at the bucket once due.
    late: Vec<Flight>,
    requests: u64,
    pub(super) clients: u64,
    pub(super) counters: Requests,
}

impl Bucket {
    pub(super) fn copy_of(other: &Bucket) -> Bucket {
        Bucket {
            objects: other.objects.clone(),
            versions: other.versions,
            ..Bucket::default()
        }
    }

    /// A request comes in: notes it, for those that are due by number.
    pub(super) fn came(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// A change is on its way. The number is for `land` and `give_up`.
    pub(super) fn depart(&mut self, client: &Arc<Client>, at: Instant, effect: Effect) -> u64 {
        let client = Arc::clone(client);
        let due = Due {
            at,
            requests: u64::MAX,
        };
        self.flights += 1;
        self.under_way.insert(
            self.flights,
            Flight {
                client,
                due,
                effect,
            },
        );
        self.flights
    }

    /// A change takes effect some time later, with nobody waiting for it.
    pub(super) fn depart_late(&mut self, client: &Arc<Client>, due: Due, effect: Effect) {
        let client = Arc::clone(client);
        self.late.push(Flight {
            client,
            due,
            effect,
        });
    }

    /// The change takes effect now, or fails if something is there (`false`). None: it was cut off.
    pub(super) fn land(&mut self, flight: u64) -> Option<bool> {
        self.settle();
        let flight = self.under_way.remove(&flight)?;
        Some(self.apply(flight.effect))
    }

    /// Nobody waits for the change any more: it is lost, or takes effect when it is due.
    pub(super) fn give_up(&mut self, flight: u64, lost: bool) {
        if let Some(flight) = self.under_way.remove(&flight)
            && !lost
        {
            self.late.push(flight);
        }
    }

    /// The client's connections are gone: each change under way is lost or not, as `lost` says.
    pub(super) fn cut_off(&mut self, client: &Arc<Client>, mut lost: impl FnMut() -> bool) {
        let of_client =
            |(id, flight): (&u64, &Flight)| Arc::ptr_eq(&flight.client, client).then_some(*id);
        let mut flights: Vec<u64> = self.under_way.iter().filter_map(of_client).collect();
        flights.sort_unstable();
        for flight in flights {
            self.give_up(flight, lost());
        }
    }

    /// Makes the changes that are due and that nobody waits for, in order.
    pub(super) fn settle(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let (now, requests) = (Instant::now(), self.requests);
        let due = |flight: &mut Flight| {
            (flight.due.at <= now || flight.due.requests <= requests) && !flight.client.is_paused()
        };
        let mut ready: Vec<Flight> = self.late.extract_if(.., due).collect();
        ready.sort_by_key(|flight| flight.due.at);
        for flight in ready {
            self.apply(flight.effect);
        }
    }

    /// Makes a change. False: something is there already.
    pub(super) fn apply(&mut self, effect: Effect) -> bool {
        match effect {
            Effect::Put {
                key, create: true, ..
            } if self.objects.contains_key(&key) => false,
            Effect::Put { key, bytes, .. } => {
                self.versions += 1;
                let (version, created) = (self.versions, Instant::now());
                self.objects.insert(
                    key,
                    Object {
                        bytes,
                        version,
                        created,
                    },
                );
                true
            }
            Effect::Delete { key } => {
                self.objects.remove(&key);
                true
            }
        }
    }

    /// The number of the newest object.
    pub(super) fn version(&self) -> u64 {
        self.versions
    }

    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Object> {
        self.objects.get_mut(key)
    }

    /// All objects with a key beyond `after`, in order.
    pub(super) fn beyond(&self, after: &str) -> impl Iterator<Item = (&String, &Object)> {
        self.objects
            .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
    }

    /// Whether the object is so new that a stale listing misses it.
    pub(super) fn is_new(&self, object: &Object) -> bool {
        object.version + 8 > self.versions && object.created.elapsed() < Duration::from_secs(1)
    }
}

impl Object {
    pub(super) fn meta(&self, location: Path, founded: Instant) -> ObjectMeta {
        let age = self.created.saturating_duration_since(founded);
        ObjectMeta {
            location,
            last_modified: (SystemTime::UNIX_EPOCH + age).into(),
            size: self.bytes.len() as u64,
            e_tag: Some(format!("\"{}\"", self.version)),
            version: None,
        }
    }
}
