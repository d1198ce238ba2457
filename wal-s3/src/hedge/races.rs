//! Two requests for one object, and every way in which they can end. The clock is simulated.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutResult, Result,
};

use super::*;
use crate::options::Options;

/// What becomes of an upload.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Milliseconds until the object is stored (or found to be there), if it ever is.
    stored: Option<u64>,
    /// Milliseconds until the answer, counted from the same moment.
    answered: u64,
    answer: Answer,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    True,
    /// An error that says nothing.
    Doubtful,
    /// A conflict where there may be none.
    Conflict,
}

/// A bucket whose uploads end as they are told to, in turn.
#[derive(Debug)]
struct Scripted {
    bucket: Arc<InMemory>,
    fates: Mutex<VecDeque<Fate>>,
}

impl std::fmt::Display for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("scripted")
    }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let fate = self.fates.lock().pop_front().expect("no more uploads");
        let begun = Instant::now();
        let mut stored = Err(Error::AlreadyExists {
            path: path.to_string(),
            source: "scripted".into(),
        });
        if let Some(after) = fate.stored {
            sleep(Duration::from_millis(after)).await;
            stored = self.bucket.put_opts(path, payload, options).await;
        }
        tokio::time::sleep_until(begun + Duration::from_millis(fate.answered)).await;
        match fate.answer {
            Answer::True => stored,
            Answer::Conflict => Err(Error::AlreadyExists {
                path: path.to_string(),
                source: "scripted".into(),
            }),
            Answer::Doubtful => Err(Error::Generic {
                store: "scripted",
                source: "no answer".into(),
            }),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.bucket.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.bucket.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.bucket.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.bucket.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.bucket.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.bucket.copy_opts(from, to, options).await
    }
}

const MINE: &[u8] = &[7; 2 * HEADER_BYTES];
const SLOW: u64 = 60_000;

/// Races two uploads, the second of which is sent after a second; how that ended, and after how
/// many milliseconds.
async fn raced(fates: [Fate; 2]) -> (std::result::Result<(), Failed>, u128) {
    let store = Scripted {
        bucket: Arc::default(),
        fates: Mutex::new(fates.into()),
    };
    let options = Options {
        request_timeout: Duration::from_secs(600),
        ..Options::default()
    };
    let client = Client::new(Arc::new(store), &options);
    let begun = Instant::now();
    let outcome = Hedging::new(Hedge::Adaptive)
        .race(
            &client,
            &Path::from("a"),
            MINE.into(),
            Duration::from_secs(1),
        )
        .await;
    (outcome, begun.elapsed().as_millis())
}

fn fate(stored: Option<u64>, answered: u64, answer: Answer) -> Fate {
    Fate {
        stored,
        answered,
        answer,
    }
}

/// The first was stored and its answer is late: the second finds the name taken, and who looks
/// finds the object. Nobody waits for the first.
#[tokio::test(start_paused = true)]
async fn what_the_first_has_stored_is_found_before_its_answer() {
    let first = fate(Some(10), SLOW, Answer::True);
    let (outcome, took) = raced([first, fate(Some(20), 20, Answer::True)]).await;
    assert!(
        matches!(&outcome, Err(Failed::Met(found)) if found == &MINE[..HEADER_BYTES]),
        "{outcome:?}"
    );
    assert!(took < SLOW.into(), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_first_to_store_it_counts() {
    let quick = fate(Some(20), 20, Answer::True);
    let (outcome, took) = raced([fate(None, SLOW, Answer::True), quick]).await;
    assert!(outcome.is_ok() && took < SLOW.into(), "{outcome:?} {took}");
    let late = fate(Some(1_500), 1_500, Answer::True);
    let (outcome, took) = raced([late, fate(None, SLOW, Answer::True)]).await;
    assert!(outcome.is_ok() && took < SLOW.into(), "{outcome:?} {took}");
}

/// An answer that says nothing ends nothing: the other request may tell.
#[tokio::test(start_paused = true)]
async fn who_does_not_know_waits_for_the_other() {
    let lost = fate(None, 1_500, Answer::Doubtful);
    let (outcome, _) = raced([lost, fate(Some(9_000), 9_000, Answer::True)]).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    let lost = fate(None, 100, Answer::Doubtful);
    let (outcome, _) = raced([fate(Some(9_000), 9_000, Answer::True), lost]).await;
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// A conflict behind which nothing is found says nothing either.
#[tokio::test(start_paused = true)]
async fn a_conflict_with_nothing_waits_for_the_first() {
    let first = fate(Some(9_000), 9_000, Answer::True);
    let (outcome, took) = raced([first, fate(None, 100, Answer::Conflict)]).await;
    assert!(outcome.is_ok() && took == 9_000, "{outcome:?} {took}");
}
