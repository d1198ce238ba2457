//! Where objects lie.

use std::fmt;

use object_store::path::Path;
use wal_core::{SegmentId, StorageError};

/// A number in an epoch's sequence of objects. All places are ordered as the log is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl Place {
    pub(crate) fn new(epoch: u64, seq: u64) -> Self {
        Place { epoch, seq }
    }

    /// The one after it in its epoch.
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    pub(crate) fn plus(self, count: u64) -> Self {
        Place::new(self.epoch, self.seq.saturating_add(count))
    }

    /// The first one of the epoch after it.
    pub(crate) fn next_epoch(self) -> Self {
        Place::new(self.epoch.saturating_add(1), 0)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// The names of one log's objects. Numbers have 20 digits, so that names sort as numbers do.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Path,
    /// What people call the log.
    name: String,
}

impl Keys {
    /// The names below `prefix` in `store`, as that calls itself.
    pub(crate) fn new(store: &str, prefix: &str) -> Result<Self, StorageError> {
        let prefix = Path::parse(prefix.trim_matches('/')).map_err(|cause| {
            let cause = std::io::Error::new(std::io::ErrorKind::InvalidInput, cause.to_string());
            StorageError::io(format!("the prefix {prefix:?} is no path"), cause)
        })?;
        let name = format!("{store}/{prefix}");
        Ok(Keys { prefix, name })
    }

    /// Everything.
    pub(crate) fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// All objects in the sequence.
    pub(crate) fn log(&self) -> Path {
        self.prefix.clone().join("log")
    }

    pub(crate) fn object(&self, place: Place) -> Path {
        self.log()
            .join(format!("{:020}", place.epoch))
            .join(format!("{:020}", place.seq))
    }

    /// The last append to a segment that was left for the next.
    pub(crate) fn footer(&self, segment: SegmentId) -> Path {
        let name = format!("{:020}", segment.get());
        self.prefix.clone().join("footers").join(name)
    }

    /// A copy of the header of an object near the end.
    pub(crate) fn hint(&self) -> Path {
        self.prefix.clone().join("hint")
    }

    pub(crate) fn probe(&self, name: &str) -> Path {
        self.prefix.clone().join("probe").join(name)
    }

    /// The place that a listed name stands for.
    pub(crate) fn place_of(&self, path: &Path) -> Option<Place> {
        let mut parts = path.prefix_match(&self.log())?;
        let mut number = || -> Option<u64> { parts.next()?.as_ref().parse().ok() };
        Some(Place::new(number()?, number()?))
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_sort_as_places_do() {
        let keys = Keys::new("Store", "/some/log/").unwrap();
        let places = [(0, 0), (1, 9), (1, 10), (2, 0), (10, 1)].map(|(e, s)| Place::new(e, s));
        let names = places.map(|place| keys.object(place));
        assert!(names.is_sorted());
        for (place, name) in places.iter().zip(&names) {
            assert_eq!(keys.place_of(name), Some(*place));
        }
        assert_eq!(keys.place_of(&keys.hint()), None);
        assert!(Keys::new("Store", "a//b").is_err());
    }
}
