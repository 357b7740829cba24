//! Paged, consistent LISTs.

use std::{sync::Arc, time::Duration};

use kube::{
    Client,
    api::{ListParams, ObjectList},
};
use tokio::{sync::Semaphore, time::timeout};

use super::ClusterError;

/// Objects a page: what kubectl asks for.
const PAGE: u32 = 500;
/// Requests under way at one time.
const AT_ONCE: usize = 8;
/// How often a list is begun that expires while its pages are read.
const BEGINNINGS: u32 = 4;
/// A bound for a continue token that never ends: a million objects.
const PAGES: u32 = 2_000;

/// Asks the API server, a bounded number of requests at a time, each with a time limit.
///
/// The limit is needed beside kube's own: its retries of 503, which an aggregated API without a backend answers,
/// go on for minutes.
#[derive(Clone)]
pub(super) struct Reader {
    /// The client.
    pub client: Client,
    /// How long one request may take, its retries included.
    pub patience: Duration,
    gate: Arc<Semaphore>,
}

impl Reader {
    /// A reader over `client`.
    pub(super) fn new(client: Client, patience: Duration) -> Self {
        Self { client, patience, gate: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// One request, when its turn comes.
    pub(super) async fn ask<T>(
        &self,
        verb: &'static str,
        resource: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<kube::Result<T>, ClusterError> {
        // The semaphore is never closed; were it, the request would only go unlimited.
        let _turn = self.gate.acquire().await.ok();
        timeout(self.patience, request).await.map_err(|_| ClusterError::Silent {
            verb,
            resource: resource.to_owned(),
            seconds: self.patience.as_secs(),
        })
    }

    /// Every object of a list, at one resourceVersion.
    ///
    /// Without a resourceVersion in the request the first page is the newest there is, and the pages that continue it
    /// show the same moment. When that moment has expired (410), the list is begun anew.
    pub(super) async fn list<K, T, F, Fut>(
        &self,
        resource: &str,
        base: &ListParams,
        fetch: F,
        mut read: impl FnMut(K) -> Option<T>,
    ) -> Result<Vec<T>, ClusterError>
    where
        K: Clone,
        F: Fn(ListParams) -> Fut,
        Fut: Future<Output = kube::Result<ObjectList<K>>>,
    {
        for _ in 0..BEGINNINGS {
            if let Some(all) = self.once(resource, base, &fetch, &mut read).await? {
                return Ok(all);
            }
            tracing::info!(resource, "list expired and was begun anew");
        }
        Err(ClusterError::Expired { resource: resource.to_owned(), times: BEGINNINGS })
    }

    /// All pages once; `None` when the list expired between them.
    async fn once<K, T, F, Fut>(
        &self,
        resource: &str,
        base: &ListParams,
        fetch: &F,
        read: &mut impl FnMut(K) -> Option<T>,
    ) -> Result<Option<Vec<T>>, ClusterError>
    where
        K: Clone,
        F: Fn(ListParams) -> Fut,
        Fut: Future<Output = kube::Result<ObjectList<K>>>,
    {
        let mut params = ListParams { limit: Some(PAGE), continue_token: None, ..base.clone() };
        let mut all = Vec::new();
        for _ in 0..PAGES {
            let page = match self.ask("list", resource, fetch(params.clone())).await? {
                Ok(page) => page,
                // <https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>
                Err(kube::Error::Api(status)) if status.code == 410 => return Ok(None),
                Err(error) => return Err(ClusterError::new("list", resource, &error)),
            };
            let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
            all.extend(page.items.into_iter().filter_map(&mut *read));
            if token.is_none() {
                return Ok(Some(all));
            }
            params.continue_token = token;
        }
        Err(ClusterError::Endless { resource: resource.to_owned(), pages: PAGES })
    }
}
