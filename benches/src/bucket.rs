//! The bucket of the arm whose log lies in one: a simulated one, or a real one by its URL.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use serde::{Deserialize, Serialize};
use wal_s3::sim::{Delayed, Profile};
use wal_s3::{ObjectStorage, Options, Prices, Requests};

use crate::failure::{Failure, Outcome};

/// Where the objects are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Bucket {
    /// Files behind the latencies of S3 Standard.
    S3,
    /// Files behind the latencies of S3 Express One Zone.
    Express,
    /// A real store.
    Url(String),
}

impl FromStr for Bucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sim:s3" => Ok(Bucket::S3),
            "sim:express" => Ok(Bucket::Express),
            url if url.contains("://") && cfg!(feature = "cloud") => Ok(Bucket::Url(url.into())),
            url if url.contains("://") => {
                Err("a bucket by URL needs a build with `--features cloud`".into())
            }
            _ => Err("expected sim:s3, sim:express or a URL such as s3://bucket/prefix".into()),
        }
    }
}

impl Bucket {
    /// As the report calls it.
    pub(crate) fn describe(&self) -> String {
        let simulated = |name, median, p99, rate| {
            format!(
                "simulated {name}: files behind requests of {median} ms (median) and {p99} ms \
                 (p99, lognormal), {rate} MB/s each"
            )
        };
        match self {
            Bucket::S3 => simulated("S3 Standard", 20, 60, 100),
            Bucket::Express => simulated("S3 Express", 4, 10, 200),
            Bucket::Url(url) => url.clone(),
        }
    }

    fn prices(&self) -> Prices {
        match self {
            Bucket::Express => Prices::S3_EXPRESS,
            _ => Prices::S3_STANDARD,
        }
    }

    /// The storage of the arm in `dir`. What lies there after a kill is taken over.
    pub(crate) fn open(&self, dir: &Path) -> Outcome<ObjectStorage> {
        let options = Options {
            take_over: true,
            ..Options::default()
        };
        let profile = match self {
            Bucket::S3 => Profile::S3,
            Bucket::Express => Profile::EXPRESS,
            Bucket::Url(url) => return by_url(url, dir, options),
        };
        let failed = |cause: &dyn std::fmt::Display| {
            Failure::log(format!("simulated bucket in {}: {cause}", dir.display()))
        };
        let objects = dir.join("bucket");
        std::fs::create_dir_all(&objects).map_err(|cause| failed(&cause))?;
        let files = LocalFileSystem::new_with_prefix(&objects).map_err(|cause| failed(&cause))?;
        let store = Delayed::new(Arc::new(files), profile, std::process::id().into());
        Ok(ObjectStorage::new(Arc::new(store), "log", options)?)
    }

    /// Leaves nothing behind in a real bucket; a simulated one goes with its directory.
    pub(crate) fn clean_up(&self, dir: &Path) -> Outcome<()> {
        if let Bucket::Url(url) = self {
            by_url(url, dir, Options::default())?.erase()?;
        }
        Ok(())
    }
}

/// A log of its own for each directory of a run.
#[cfg(feature = "cloud")]
fn by_url(url: &str, dir: &Path, options: Options) -> Outcome<ObjectStorage> {
    let names: Vec<_> = dir.iter().rev().take(2).collect();
    let names: Vec<_> = names
        .iter()
        .rev()
        .map(|name| name.to_string_lossy())
        .collect();
    let url = format!("{}/{}", url.trim_end_matches('/'), names.join("/"));
    Ok(ObjectStorage::from_url(&url, options)?)
}

#[cfg(not(feature = "cloud"))]
fn by_url(url: &str, _: &Path, _: Options) -> Outcome<ObjectStorage> {
    Err(Failure::log(format!(
        "{url}: built without `--features cloud`"
    )))
}

/// What an arm asked of its bucket, and what that costs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) puts: u64,
    pub(crate) gets: u64,
    pub(crate) lists: u64,
    pub(crate) retries: u64,
    pub(crate) dollars: f64,
}

impl Asked {
    pub(crate) fn new(requests: &Requests, bucket: &Bucket) -> Self {
        Asked {
            puts: requests.puts,
            gets: requests.gets,
            lists: requests.lists,
            retries: requests.retries,
            dollars: requests.dollars(&bucket.prices()),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.puts + self.gets + self.lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_or_refused() {
        assert_eq!("sim:s3".parse(), Ok(Bucket::S3));
        assert_eq!("sim:express".parse(), Ok(Bucket::Express));
        assert!("sim".parse::<Bucket>().is_err());
        assert_eq!("s3://b".parse::<Bucket>().is_ok(), cfg!(feature = "cloud"));
    }

    #[test]
    fn a_simulated_bucket_outlives_its_process() {
        let dir = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let storage = Bucket::Express.open(dir.path()).unwrap();
            let (wal, recovery) = wal_core::Wal::open(storage, Default::default()).unwrap();
            assert_eq!(recovery.end.get(), round);
            wal.commit("a record").unwrap();
            wal.close().unwrap();
        }
    }
}
