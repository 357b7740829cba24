//! The API server: a store of objects of any served kind behind Kubernetes' HTTP API, with RBAC, pages, watches,
//! conflicts and `pods/exec`.
//!
//! It serves what is read and written here, not all of Kubernetes: no admission beside the validation of policies, no field management by server-side
//! apply (a patch of that kind is merged), no protobuf.

mod exec;
pub mod kinds;
mod list;
pub mod object;
mod refusal;
pub mod rights;
pub mod store;
mod valid;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;

pub use self::{
    exec::{Pods, Running},
    kinds::Kind,
    refusal::Refusal,
    rights::Rights,
    store::Store,
};
use self::{list::Pages, object::text, rights::Wish};
use crate::{
    faults::Faults,
    http::{Answer, Endpoint, Request, Server},
};

/// The API server; gone when this is dropped.
pub struct Api {
    shared: Arc<Shared>,
    server: Server,
    /// What happens to its requests.
    pub faults: Faults,
}

struct Shared {
    inner: Arc<Mutex<Inner>>,
    pods: Arc<dyn Pods>,
}

struct Inner {
    store: Store,
    kinds: Vec<Kind>,
    rights: Rights,
    /// Tokens and their users.
    tokens: BTreeMap<String, String>,
    pages: Pages,
}

/// What a path names.
struct Target {
    kind: Kind,
    namespace: String,
    name: Option<String>,
    subresource: Option<String>,
}

impl Api {
    /// Starts one.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn start(pods: Arc<dyn Pods>) -> io::Result<Self> {
        let tokens = BTreeMap::from([(rights::ADMIN.to_owned(), rights::ADMIN.to_owned())]);
        let inner = Inner {
            store: Store::default(),
            kinds: kinds::built_in(),
            rights: Rights::default(),
            tokens,
            pages: Pages::default(),
        };
        let shared = Arc::new(Shared { inner: Arc::new(Mutex::new(inner)), pods });
        let faults = Faults::default();
        let server = Server::start(Arc::clone(&shared), faults.clone()).await?;
        Ok(Self { shared, server, faults })
    }

    /// Its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner()
    }

    /// Serves one more kind, from now on.
    pub fn serve(&self, kind: Kind) {
        self.inner().kinds.push(kind);
    }

    /// From now on this token is this user.
    pub fn know(&self, token: &str, user: &str) {
        self.inner().tokens.insert(token.to_owned(), user.to_owned());
    }

    /// Changes the rights.
    pub fn rights(&self, change: impl FnOnce(&mut Rights)) {
        change(&mut self.inner().rights);
    }

    /// Works on the objects directly, as whoever is not the verifier.
    pub fn store<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.inner().store)
    }

    /// All continuations of lists, and all beginnings of watches so far, are forgotten.
    pub fn compact(&self) {
        let mut inner = self.inner();
        inner.store.compact();
        inner.pages = Pages::default();
    }

    /// The kind of an object.
    ///
    /// # Errors
    /// 404: it is not served.
    pub fn kind_of(&self, object: &Value) -> Result<Kind, Refusal> {
        let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
        let inner = self.inner();
        let found = inner.kinds.iter().find(|known| known.kind == kind && known.api_version() == api_version);
        found.cloned().ok_or_else(|| Refusal::new(404, format!("no matches for kind \"{kind}\" in \"{api_version}\"")))
    }

    /// A served kind by its group and name, as Flux' inventory has it.
    #[must_use]
    pub fn kind_in(&self, group: &str, kind: &str) -> Option<Kind> {
        self.inner().kinds.iter().find(|known| known.group == group && known.kind == kind).cloned()
    }

    /// Creates an object, or merges it into the one that is there.
    ///
    /// # Errors
    /// It is of no served kind, or cannot be.
    pub fn apply(&self, object: &Value) -> Result<Value, Refusal> {
        let kind = self.kind_of(object)?;
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        self.store(|store| match store.get(&kind.resource(), namespace, name) {
            Some(_) => store.patch(&kind, namespace, name, object, false),
            None => store.create(&kind, namespace, object.clone()),
        })
    }

    /// Whether an object would be taken: what a dry run says.
    ///
    /// # Errors
    /// It is of no served kind, or cannot be.
    pub fn dry_run(&self, object: &Value) -> Result<(), Refusal> {
        valid::check(&self.kind_of(object)?, object)
    }

    /// Replaces the status of an object that is there.
    ///
    /// # Errors
    /// It is not there.
    pub fn set_status(&self, object: &Value, status: &Value) -> Result<Value, Refusal> {
        let kind = self.kind_of(object)?;
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        let new = serde_json::json!({ "status": status });
        self.store(|store| store.update(&kind, namespace, name, new, true))
    }

    /// An object.
    #[must_use]
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.inner().store.get(resource, namespace, name).cloned()
    }

    /// The objects of a resource.
    #[must_use]
    pub fn all(&self, resource: &str) -> Vec<Value> {
        self.inner().store.all(resource, "").into_iter().cloned().collect()
    }
}

impl Endpoint for Shared {
    async fn answer(&self, request: Request) -> Answer {
        self.route(request).unwrap_or_else(|refusal| refusal.answer(None))
    }

    fn refusal(&self, code: u16, wait: Option<Duration>) -> Answer {
        Refusal::new(code, "asked for by the test").answer(wait)
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn route(&self, request: Request) -> Result<Answer, Refusal> {
        let user = self.inner().tokens.get(request.token()).cloned();
        let user = user.ok_or_else(|| Refusal::new(401, "Unauthorized"))?;
        match request.path.as_str() {
            "/api" | "/apis" => {
                let core = request.path == "/api";
                return Ok(Answer::json(200, &kinds::discovery(&self.inner().kinds, core)));
            }
            "/version" => {
                return Ok(Answer::json(
                    200,
                    &serde_json::json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}),
                ));
            }
            _ => {}
        }
        let target = self.inner().target(&request.parts())?;
        let wish = wish(&target, &request);
        if !self.inner().rights.allow(&user, &wish) {
            return Err(forbidden(&user, &wish));
        }
        match target.subresource.as_deref() {
            Some("exec") => self.exec(&target, request),
            _ => self.object(&target, &request),
        }
    }

    fn object(&self, target: &Target, request: &Request) -> Result<Answer, Refusal> {
        let Target { kind, namespace, .. } = target;
        let is_status = target.subresource.as_deref() == Some("status");
        let (resource, body) = (kind.resource(), request.json());
        if request.method == "GET" && target.name.is_none() {
            return match request.parameter("watch") {
                Some("true" | "1") => list::watch(self, kind, namespace, request),
                _ => list::list(&mut self.inner(), kind, namespace, request),
            };
        }
        let store = &mut self.inner().store;
        let (code, object) = match (request.method.as_str(), &target.name) {
            ("GET", Some(name)) => {
                let found = store.get(&resource, namespace, name);
                (200, found.cloned().ok_or_else(|| Refusal::not_found(&resource, name))?)
            }
            ("POST", None) => (201, store.create(kind, namespace, body)?),
            ("PUT", Some(name)) => (200, store.update(kind, namespace, name, body, is_status)?),
            ("PATCH", Some(name)) if is_apply(request) && store.get(&resource, namespace, name).is_none() => {
                (201, store.create(kind, namespace, body)?)
            }
            ("PATCH", Some(name)) => (200, store.patch(kind, namespace, name, &body, is_status)?),
            ("DELETE", Some(name)) => (200, store.delete(kind, namespace, name)?),
            (method, _) => return Err(Refusal::new(405, format!("{method} is not supported here"))),
        };
        Ok(Answer::json(code, &list::shown(&object, request)))
    }

    fn exec(&self, target: &Target, request: Request) -> Result<Answer, Refusal> {
        let name = target.name.as_deref().unwrap_or_default();
        let pod = self.inner().store.get("pods", &target.namespace, name).cloned();
        let pod = pod.ok_or_else(|| Refusal::not_found("pods", name))?;
        let container = request.parameter("container").unwrap_or_default();
        let containers = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
        if !container.is_empty() && !containers.map(|one| text(one, "/name")).any(|known| known == container) {
            return Err(Refusal::new(400, format!("container {container} is not valid for pod {name}")));
        }
        if text(&pod, "/status/phase") != "Running" {
            let phase = text(&pod, "/status/phase");
            return Err(Refusal::new(500, format!("cannot exec into a container in a {phase} pod")));
        }
        Ok(exec::answer(&self.pods, &format!("{}/{name}", target.namespace), request))
    }
}

fn is_apply(request: &Request) -> bool {
    request.header("content-type").starts_with("application/apply-patch")
}

fn wish(target: &Target, request: &Request) -> Wish {
    let verb = match (request.method.as_str(), &target.name) {
        ("GET", None) if matches!(request.parameter("watch"), Some("true" | "1")) => "watch",
        ("GET", None) => "list",
        ("GET", Some(_)) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        _ => "delete",
    };
    let plural = &target.kind.plural;
    // A real API server takes a list or watch of one name for a request for that name.
    let selected = request.parameter("fieldSelector").and_then(|fields| fields.strip_prefix("metadata.name="));
    Wish {
        verb: verb.to_owned(),
        group: target.kind.group.clone(),
        resource: target.subresource.as_ref().map_or_else(|| plural.clone(), |sub| format!("{plural}/{sub}")),
        namespace: target.namespace.clone(),
        name: target.name.as_deref().or(selected).unwrap_or_default().to_owned(),
    }
}

fn forbidden(user: &str, wish: &Wish) -> Refusal {
    let scope = match wish.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace \"{namespace}\""),
    };
    let Wish { verb, group, resource, name, .. } = wish;
    let full = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
    let what = if name.is_empty() { full } else { format!("{full} \"{name}\"") };
    let cannot = format!("User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {scope}");
    Refusal::new(403, format!("{what} is forbidden: {cannot}"))
}

impl Inner {
    /// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`.
    fn target(&self, parts: &[String]) -> Result<Target, Refusal> {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let nowhere = || Refusal::new(404, "the server could not find the requested resource");
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(nowhere()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() && rest != ["status"] => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return Err(nowhere()),
        };
        let wanted = |kind: &&Kind| kind.group == group && kind.version == version && kind.plural == plural;
        let kind = self.kinds.iter().find(wanted).cloned().ok_or_else(nowhere)?;
        Ok(Target {
            kind,
            namespace: namespace.to_owned(),
            name: name.map(ToOwned::to_owned),
            subresource: subresource.map(ToOwned::to_owned),
        })
    }
}
