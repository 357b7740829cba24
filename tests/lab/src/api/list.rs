//! Lists in pages that show one moment, and watches.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

use super::{
    Inner, Kind, Shared,
    object::{fields_fit, labels_fit, text},
    refusal::Refusal,
};
use crate::http::{Answer, Request};

/// How often a watch tells its resourceVersion when nothing happens.
const BOOKMARK: Duration = Duration::from_millis(500);

/// What is left of lists that are being read page by page.
#[derive(Debug, Default)]
pub(super) struct Pages {
    left: BTreeMap<u64, (u64, Vec<Value>)>,
    count: u64,
}

/// One page of a list.
pub(super) fn list(inner: &mut Inner, kind: &Kind, namespace: &str, request: &Request) -> Result<Answer, Refusal> {
    let token = request.parameter("continue").filter(|token| !token.is_empty());
    let (version, mut items) = if let Some(token) = token {
        let left = token.parse().ok().and_then(|token| inner.pages.left.remove(&token));
        let expired = "The provided continue parameter is too old to display a consistent list result";
        left.ok_or_else(|| Refusal::new(410, expired))?
    } else {
        let all = inner.store.all(&kind.resource(), namespace).into_iter();
        let wanted = all.filter(|object| is_wanted(object, request));
        (inner.store.version(), wanted.map(|object| shown(object, request)).collect())
    };
    let limit = request.parameter("limit").and_then(|limit| limit.parse().ok()).filter(|limit| *limit > 0);
    let rest = items.split_off(limit.unwrap_or(items.len()).min(items.len()));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !rest.is_empty() {
        inner.pages.count += 1;
        metadata = json!({
            "resourceVersion": version.to_string(), "continue": inner.pages.count.to_string(),
            "remainingItemCount": rest.len(),
        });
        inner.pages.left.insert(inner.pages.count, (version, rest));
    }
    let (api_version, list) = if wants_metadata(request) {
        ("meta.k8s.io/v1".to_owned(), "PartialObjectMetadataList".to_owned())
    } else {
        (kind.api_version(), format!("{}List", kind.kind))
    };
    Ok(Answer::json(200, &json!({"apiVersion": api_version, "kind": list, "metadata": metadata, "items": items})))
}

/// Whether an object fits the selectors of a request.
fn is_wanted(object: &Value, request: &Request) -> bool {
    labels_fit(object, request.parameter("labelSelector").unwrap_or_default())
        && fields_fit(object, request.parameter("fieldSelector").unwrap_or_default())
}

fn wants_metadata(request: &Request) -> bool {
    request.header("accept").contains("PartialObjectMetadata")
}

/// An object, or its metadata alone where that was asked for.
pub(super) fn shown(object: &Value, request: &Request) -> Value {
    if wants_metadata(request) {
        return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.get("metadata")});
    }
    object.clone()
}

/// A watch under way.
struct Watch {
    shared: Arc<dyn Fn(u64) -> Result<Vec<Value>, Refusal> + Send + Sync>,
    newest: Receiver<u64>,
    /// Changes up to here were told.
    version: u64,
    told: VecDeque<Value>,
    ended: bool,
    bookmark: Box<dyn Fn(u64) -> Value + Send + Sync>,
}

/// A stream of changes since the `resourceVersion` of the request, or of all that there is, and changes after that.
pub(super) fn watch(shared: &Shared, kind: &Kind, namespace: &str, request: &Request) -> Result<Answer, Refusal> {
    let mut inner = shared.inner();
    let inner = &mut *inner;
    let (newest, now) = (inner.store.newest(), inner.store.version());
    let since = request.parameter("resourceVersion").and_then(|version| version.parse().ok()).filter(|v| *v > 0);
    let told = if let Some(since) = since {
        inner.store.since(&kind.resource(), since)?;
        VecDeque::new()
    } else {
        let all = inner.store.all(&kind.resource(), namespace).into_iter();
        let wanted = all.filter(|object| is_wanted(object, request));
        wanted.map(|object| json!({"type": "ADDED", "object": shown(object, request)})).collect()
    };
    let watch = Watch {
        shared: changes(shared, kind, namespace, request),
        newest,
        version: since.unwrap_or(now),
        told,
        ended: false,
        bookmark: bookmark(kind),
    };
    Ok(Answer::stream(stream::unfold(watch, next)))
}

fn bookmark(kind: &Kind) -> Box<dyn Fn(u64) -> Value + Send + Sync> {
    let (api_version, kind) = (kind.api_version(), kind.kind.clone());
    Box::new(move |version| {
        let object =
            json!({"apiVersion": api_version, "kind": kind, "metadata": {"resourceVersion": version.to_string()}});
        json!({"type": "BOOKMARK", "object": object})
    })
}

/// What of the changes after a version this request wants to see.
fn changes(
    shared: &Shared,
    kind: &Kind,
    namespace: &str,
    request: &Request,
) -> Arc<dyn Fn(u64) -> Result<Vec<Value>, Refusal> + Send + Sync> {
    let wants = Wants {
        namespace: namespace.to_owned(),
        labels: request.parameter("labelSelector").unwrap_or_default().to_owned(),
        fields: request.parameter("fieldSelector").unwrap_or_default().to_owned(),
        metadata: wants_metadata(request),
    };
    let (inner, resource) = (Arc::clone(&shared.inner), kind.resource());
    Arc::new(move |version| {
        let inner = inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let changes = inner.store.since(&resource, version)?;
        Ok(changes.into_iter().filter_map(|change| wants.event(change.what, change.object)).collect())
    })
}

struct Wants {
    namespace: String,
    labels: String,
    fields: String,
    metadata: bool,
}

impl Wants {
    fn event(&self, what: &str, object: Value) -> Option<Value> {
        let here = self.namespace.is_empty() || text(&object, "/metadata/namespace") == self.namespace;
        if !here || !labels_fit(&object, &self.labels) || !fields_fit(&object, &self.fields) {
            return None;
        }
        let object = if self.metadata {
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object.get("metadata")})
        } else {
            object
        };
        Some(json!({"type": what, "object": object}))
    }
}

async fn next(mut watch: Watch) -> Option<(Value, Watch)> {
    loop {
        if let Some(event) = watch.told.pop_front() {
            return Some((event, watch));
        }
        if watch.ended {
            return None;
        }
        let newest = *watch.newest.borrow_and_update();
        match (watch.shared)(watch.version) {
            Ok(events) => watch.told.extend(events),
            Err(expired) => {
                watch.told.push_back(json!({"type": "ERROR", "object": expired.status()}));
                watch.ended = true;
            }
        }
        watch.version = watch.version.max(newest);
        if watch.told.is_empty() && tokio::time::timeout(BOOKMARK, watch.newest.changed()).await.is_err() {
            let bookmark = (watch.bookmark)(watch.version);
            return Some((bookmark, watch));
        }
    }
}
