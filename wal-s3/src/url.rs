//! Stores by their names (features `aws`, `gcp`, `azure`).

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, RetryConfig};
use wal_core::StorageError;

use crate::{ObjectStorage, Options};

impl ObjectStorage {
    /// A log below the path of a URL: `s3://bucket/path`, `gs://bucket/path`, `az://container/path`
    /// (with the features `aws`, `gcp`, `azure`), or `memory:///path`. Credentials, region and
    /// endpoint come from the environment, by the names that [`object_store`] documents:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
    /// `AWS_ALLOW_HTTP` and so on. Requests that fail are repeated by this crate only.
    ///
    /// # Errors
    /// A URL of another kind, or what the store's client misses.
    pub fn from_url(url: &str, options: Options) -> Result<Self, StorageError> {
        let invalid = |why: &str| {
            let cause = std::io::Error::new(std::io::ErrorKind::InvalidInput, why.to_owned());
            StorageError::io(format!("the log at {url}"), cause)
        };
        let parts = url.split_once("://");
        let (scheme, rest) = parts.ok_or_else(|| invalid("expected scheme://bucket/path"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let retry = RetryConfig {
            max_retries: 0,
            ..RetryConfig::default()
        };
        let built = match scheme {
            #[cfg(feature = "aws")]
            "s3" => object_store::aws::AmazonS3Builder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            #[cfg(feature = "gcp")]
            "gs" => object_store::gcp::GoogleCloudStorageBuilder::from_env()
                .with_bucket_name(bucket)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            #[cfg(feature = "azure")]
            "az" => object_store::azure::MicrosoftAzureBuilder::from_env()
                .with_container_name(bucket)
                .with_retry(retry)
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "memory" => Ok(Arc::new(InMemory::new()) as Arc<dyn ObjectStore>),
            "file" => return Err(invalid("files are not synced that way: use wal-fs")),
            _ => {
                return Err(invalid(
                    "expected s3://, gs://, az:// or memory://, as built",
                ));
            }
        };
        let store = built.map_err(|cause| invalid(&cause.to_string()))?;
        ObjectStorage::named(&format!("{scheme}://{bucket}"), store, prefix, options)
    }
}
