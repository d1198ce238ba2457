//! The requests.

use std::collections::BTreeSet;
use std::future::ready;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

use super::bucket::Effect;
use super::faults::{Fate, Kind};
use super::request::{already_exists, generic, gone, not_found, not_implemented};
use super::{Requests, SimStore};

/// How many keys a request lists or deletes.
const PAGE: usize = 1_000;

#[async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let create = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(not_implemented("put_opts: Update")),
        };
        self.put(location, payload.into(), create).await
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(not_implemented("put_multipart_opts"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .ready_chunks(PAGE)
            .then(move |chunk| {
                let store = store.clone();
                async move { stream::iter(store.delete_together(chunk).await) }
            })
            .flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list_beyond(prefix, String::new())
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.client.faults().ignores_offset {
            true => self.list(prefix),
            false => self.list_beyond(prefix, offset.to_string()),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let within = directory(prefix);
        let mut objects = Vec::new();
        let mut directories = BTreeSet::new();
        let mut all = self.list(prefix);
        while let Some(meta) = all.try_next().await? {
            let Some(rest) = meta.location.as_ref().strip_prefix(&within) else {
                continue;
            };
            match rest.split_once('/') {
                Some((directory, _)) => {
                    directories.insert(Path::from(format!("{within}{directory}")));
                }
                None => objects.push(meta),
            }
        }
        Ok(ListResult {
            common_prefixes: directories.into_iter().collect(),
            objects,
            extensions: Default::default(),
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(not_implemented("copy_opts"))
    }
}

impl SimStore {
    async fn put(&self, location: &Path, bytes: Bytes, create: bool) -> Result<PutResult> {
        let kind = if create {
            Kind::Create
        } else {
            Kind::Overwrite
        };
        let size = bytes.len() as u64;
        let count = |counters: &mut Requests| {
            counters.puts += 1;
            counters.bytes_up += size;
        };
        let (plan, came) = self.begin(kind, size, count).await?;
        let create = create && !self.overlooks(location).await;
        let key = location.to_string();
        let effect = Effect::Put { key, bytes, create };

        let landed = self.make(plan, came, effect).await?;
        if plan.fate != Fate::ErrorThenStored {
            self.wait(plan.answer).await?;
        }
        self.answer(plan.fate, location).await?;
        let landing = landed.ok_or_else(gone)?;
        if !landing.done {
            return Err(already_exists(location, "there is one"));
        }
        Ok(PutResult {
            e_tag: Some(format!("\"{}\"", landing.version)),
            version: None,
            extensions: Default::default(),
        })
    }

    /// Whether a broken store does not see what is there, or what comes between now and the effect.
    async fn overlooks(&self, location: &Path) -> bool {
        let faults = self.client.faults();
        if faults.ignores_create {
            return true;
        }
        if !faults.races_create {
            return false;
        }
        let there = self.look(|bucket| bucket.get(location.as_ref()).is_some());
        // Without latency this is where others get their turn.
        tokio::task::yield_now().await;
        !there
    }

    async fn read(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.version.is_some() {
            return Err(not_implemented("get_opts: version"));
        }
        let count = |counters: &mut Requests| match options.head {
            true => counters.heads += 1,
            false => counters.gets += 1,
        };
        let (plan, _) = self.begin(Kind::Read, 0, count).await?;
        self.wait(plan.effect).await?;
        let found = self.look(|bucket| {
            let object = bucket.get(location.as_ref())?;
            let meta = object.meta(location.clone(), self.shared.founded);
            Some((meta, object.bytes.clone()))
        });
        self.wait(plan.answer).await?;
        self.answer(plan.fate, location).await?;

        let (meta, bytes) = found.ok_or_else(|| not_found(location))?;
        options.check_preconditions(&meta)?;
        let whole = GetRange::Offset(0);
        let range = match (&options.range, bytes.is_empty()) {
            (None, true) => 0..0,
            (range, _) => {
                (range.as_ref().unwrap_or(&whole).as_range(meta.size)).map_err(generic)?
            }
        };
        let part = match options.head {
            true => Bytes::new(),
            // In bounds, since it lies within the size.
            false => bytes.slice(range.start as usize..range.end as usize),
        };
        let size = part.len() as u64;
        self.shared.bucket.lock().counters.bytes_down += size;
        self.wait(plan.answer_after(self.profile.transfer(size)))
            .await?;
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(ready(Ok(part))).boxed()),
            meta,
            range,
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    /// Lists page by page, each when it is asked for.
    fn list_beyond(
        &self,
        prefix: Option<&Path>,
        after: String,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let within = directory(prefix);
        let first = Some(after.max(within.clone()));
        let store = self.clone();
        stream::try_unfold(first, move |after| {
            let (store, within) = (store.clone(), within.clone());
            async move {
                let Some(after) = after else {
                    return Ok::<_, Error>(None);
                };
                let (page, last) = store.list_page(&within, &after).await?;
                Ok(Some((stream::iter(page.into_iter().map(Ok)), last)))
            }
        })
        .try_flatten()
        .boxed()
    }

    /// A page, and the key it goes on after.
    async fn list_page(
        &self,
        within: &str,
        after: &str,
    ) -> Result<(Vec<ObjectMeta>, Option<String>)> {
        let (plan, _) = self
            .begin(Kind::List, 0, |counters| counters.lists += 1)
            .await?;
        self.wait(plan.effect).await?;
        let founded = self.shared.founded;
        let (page, last) = self.look(|bucket| {
            let mut keys = bucket
                .beyond(after)
                .take_while(|(key, _)| key.starts_with(within));
            let page: Vec<_> = keys.by_ref().take(PAGE).collect();
            let more = keys.next().is_some();
            let last = page.last().filter(|_| more).map(|(key, _)| (*key).clone());
            let misses = |object| plan.fate == Fate::StaleList && bucket.is_new(object);
            let seen = page.into_iter().filter(|(_, object)| !misses(object));
            let meta = |(key, object): (&String, &super::bucket::Object)| {
                object.meta(Path::from(key.as_str()), founded)
            };
            (seen.map(meta).collect(), last)
        });
        self.wait(plan.answer).await?;
        self.answer(plan.fate, &Path::from(within)).await?;
        Ok((page, last))
    }

    /// One request that deletes several objects, and the outcome for each.
    async fn delete_together(&self, chunk: Vec<Result<Path>>) -> Vec<Result<Path>> {
        let outcome = self
            .delete_these(&chunk)
            .await
            .map_err(|error| error.to_string());
        let each = |location: Result<Path>| match (location, &outcome) {
            (Ok(_), Err(error)) => Err(generic(error.clone())),
            (location, _) => location,
        };
        chunk.into_iter().map(each).collect()
    }

    async fn delete_these(&self, chunk: &[Result<Path>]) -> Result<()> {
        let (plan, _) = self
            .begin(Kind::Delete, 0, |counters| counters.deletes += 1)
            .await?;
        let mut flights = Vec::new();
        if plan.fate.takes_effect() {
            let keys = chunk.iter().flatten().map(Path::to_string);
            flights.extend(keys.map(|key| self.depart(plan, Effect::Delete { key })));
        }
        self.wait(plan.effect).await?;
        flights.into_iter().for_each(|flight| {
            flight.land();
        });
        self.wait(plan.answer).await?;
        self.answer(plan.fate, &Path::default()).await
    }
}

/// What the keys below a prefix begin with.
fn directory(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}
