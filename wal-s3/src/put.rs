//! Creating an object, and finding out whether it was this writer who did.
//!
//! A sequence number is bound to its bytes for ever: an attempt whose outcome is in doubt is
//! repeated with the same bytes under the same name. A conflict is never believed: the header
//! at that name decides. If it is the one that was sent, the object is stored; if there is none,
//! the conflict was spurious.

use object_store::PutPayload;
use object_store::path::Path;
use wal_core::StorageError;
use wal_core::planted::planted;

use crate::client::{Client, Failed};
use crate::hedge::Hedging;
use crate::object::{HEADER_BYTES, Header};
use crate::requests::add;

/// What became of an upload.
#[derive(Debug)]
pub(crate) enum Created {
    /// The object is there, with these bytes.
    Mine,
    /// Another one has the name.
    Other(Header),
}

/// Creates the object at `path`, which begins with these bytes; returns when it is certain
/// what lies there.
pub(crate) async fn create(
    client: &Client,
    hedging: &Hedging,
    path: &Path,
    header: &[u8; HEADER_BYTES],
    payload: PutPayload,
) -> Result<Created, StorageError> {
    let mut patience = client.patience(|| format!("creating {path}"));
    loop {
        let failed = match hedging.create(client, path, payload.clone()).await {
            Ok(()) => return Ok(Created::Mine),
            Err(failed) => failed,
        };
        if matches!(failed, Failed::Taken | Failed::Met(_)) {
            add(&client.counters.conflicts, 1);
            let found = match &failed {
                Failed::Met(found) => Some(found.clone()),
                _ => {
                    let found = client.get_first(path, HEADER_BYTES as u64).await?;
                    found.map(|(bytes, _)| bytes)
                }
            };
            match found {
                _ if planted("conflict-taken-for-success") => return Ok(Created::Mine),
                None if planted("conflict-taken-for-another") => {
                    return Ok(Created::Other(decode(path, header)?));
                }
                Some(found) if found == header[..] => return Ok(Created::Mine),
                Some(found) => return Ok(Created::Other(decode(path, &found)?)),
                None => {}
            }
        }
        if planted("doubt-taken-for-success") && matches!(failed, Failed::Doubtful(_)) {
            return Ok(Created::Mine);
        }
        patience.after(failed).await?;
    }
}

/// The header at `path`; an object that is none of a log's is an error.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header, StorageError> {
    Header::decode(bytes).map_err(|why| foreign(path, &why.to_string()))
}

/// Something lies where only objects of a log should.
pub(crate) fn foreign(path: &Path, why: &str) -> StorageError {
    StorageError::Conflict(format!(
        "{path} cannot be read as part of a log: {why}; it is damaged, or something else uses \
         this prefix"
    ))
}
