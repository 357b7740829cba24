//! A small API server in memory, over HTTP: objects with resourceVersions and conflicts, pages, and faults on demand.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use kube::{Client, Config};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

/// What a request gets in place of its answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// An error, without doing anything.
    Status(u16),
    /// It is done, but the answer is an error: as when a gateway gives up.
    DoneBut(u16),
    /// The true answer, late.
    Late(Duration),
    /// A watch that begins, and says that its version expired.
    Expired,
}

struct Rule {
    method: &'static str,
    path: String,
    fault: Fault,
    left: usize,
}

impl Rule {
    fn is_for(&self, line: &str) -> bool {
        self.path.strip_suffix('$').map_or_else(|| line.contains(&self.path), |end| line.ends_with(end))
    }
}

/// What happened to an object.
struct Event {
    version: u64,
    resource: String,
    /// Namespace and name.
    key: (String, String),
    kind: &'static str,
    object: Value,
}

#[derive(Default)]
struct World {
    objects: BTreeMap<String, BTreeMap<(String, String), Value>>,
    groups: Vec<Value>,
    version: u64,
    events: Vec<Event>,
    rules: Vec<Rule>,
    log: Vec<String>,
}

/// The server; it is gone when this is dropped.
pub struct Api {
    server: MockServer,
    world: Arc<Mutex<World>>,
}

struct Handler(Arc<Mutex<World>>);

/// Where a request goes: `resource.group`, namespace, name.
struct Target {
    resource: String,
    namespace: String,
    name: Option<String>,
}

impl Api {
    /// Starts one that serves nothing but the built-in kinds.
    pub async fn start() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Handler(Arc::clone(&world))).mount(&server).await;
        let api = Self { server, world };
        api.serve("networking.k8s.io", "v1", "Current", &[("NetworkPolicy", "networkpolicies", true)]);
        api
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// The server's URL, for a kubeconfig.
    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub fn client(&self) -> Client {
        Client::try_from(Config::new(self.server.uri().parse().unwrap())).unwrap()
    }

    /// Serves kinds: (kind, plural, namespaced).
    pub fn serve(&self, group: &str, version: &str, freshness: &str, kinds: &[(&str, &str, bool)]) {
        let resources: Vec<_> = kinds
            .iter()
            .map(|(kind, plural, namespaced)| {
                json!({"resource": plural, "responseKind": {"group": group, "version": version, "kind": kind},
                    "scope": if *namespaced { "Namespaced" } else { "Cluster" }, "verbs": ["get", "list"]})
            })
            .collect();
        self.world().groups.push(json!({"metadata": {"name": group},
            "versions": [{"version": version, "freshness": freshness, "resources": resources}]}));
    }

    /// Puts an object there, or over an older one, as somebody else would.
    pub fn put(&self, resource: &str, object: Value) {
        let mut world = self.world();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        world.store(resource, (namespace, name), object);
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.world().objects.get(resource)?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    pub fn all(&self, resource: &str) -> Vec<Value> {
        self.world().objects.get(resource).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    pub fn remove(&self, resource: &str, namespace: &str, name: &str) {
        let mut world = self.world();
        let key = (namespace.to_owned(), name.to_owned());
        let object = world.objects.get_mut(resource).unwrap().remove(&key).unwrap();
        world.version += 1;
        let version = world.version;
        world.events.push(Event { version, resource: resource.to_owned(), key, kind: "DELETED", object });
    }

    /// The next `times` requests whose path with query contains `path`, or ends with it where it ends with `$`, get
    /// this fault.
    pub fn fault(&self, method: &'static str, path: &str, fault: Fault, times: usize) {
        self.world().rules.push(Rule { method, path: path.to_owned(), fault, left: times });
    }

    pub fn no_faults(&self) {
        self.world().rules.clear();
    }

    /// Requests so far whose line (`GET /path?query`) contains this.
    pub fn requests(&self, part: &str) -> Vec<String> {
        self.world().log.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

impl Respond for Handler {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut world = self.0.lock().unwrap();
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let line = format!("{}{query}", request.url.path());
        world.log.push(format!("{} {line}", request.method));
        let method = request.method.as_str();
        let rule = world.rules.iter_mut().find(|r| r.left > 0 && r.method == method && r.is_for(&line));
        let fault = rule.map(|rule| {
            rule.left -= 1;
            rule.fault.clone()
        });
        match fault {
            Some(Fault::Status(code)) => status(code, "asked for by the test"),
            Some(Fault::DoneBut(code)) => {
                world.answer(request);
                status(code, "the answer was lost")
            }
            Some(Fault::Late(delay)) => world.answer(request).set_delay(delay),
            Some(Fault::Expired) => {
                let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "code": 410, "reason": "Expired", "message": "too old resource version"}});
                ResponseTemplate::new(200).set_body_raw(format!("{gone}\n"), "application/json")
            }
            None => world.answer(request),
        }
    }
}

impl World {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        if request.url.path() == "/apis" {
            let list =
                json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "items": self.groups});
            return ResponseTemplate::new(200).set_body_json(list);
        }
        let Some(target) = target(request.url.path()) else { return status(404, "no such path") };
        match (request.method.as_str(), &target.name) {
            ("GET", None) if request.url.query().is_some_and(|query| query.contains("watch=true")) => {
                self.watch(&target, request)
            }
            ("GET", None) => self.list(&target, request),
            ("GET", Some(name)) => {
                match self.objects.get(&target.resource).and_then(|all| all.get(&key(&target, name))) {
                    Some(object) => ResponseTemplate::new(200).set_body_json(shown(object, request)),
                    None => status(404, "not found"),
                }
            }
            ("POST", None) => self.create(&target, request),
            ("PUT", Some(name)) => self.replace(&target, name, request),
            ("PATCH", Some(name)) => self.patch(&target, name, request),
            _ => status(405, "not here"),
        }
    }

    fn store(&mut self, resource: &str, key: (String, String), mut object: Value) -> Value {
        self.version += 1;
        let uid = format!("uid-{}", self.version);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("uid").or_insert(json!(uid));
        metadata.entry("creationTimestamp").or_insert(json!("2026-11-20T09:00:00Z"));
        let known = self.objects.get(resource).is_some_and(|all| all.contains_key(&key));
        let kind = if known { "MODIFIED" } else { "ADDED" };
        let (version, resource_name) = (self.version, resource.to_owned());
        self.events.push(Event { version, resource: resource_name, key: key.clone(), kind, object: object.clone() });
        self.objects.entry(resource.to_owned()).or_default().insert(key, object.clone());
        object
    }

    fn list(&self, target: &Target, request: &Request) -> ResponseTemplate {
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let limit: usize = query.get("limit").map_or(usize::MAX, |limit| limit.parse().unwrap());
        let from: usize = query.get("continue").map_or(0, |token| token.parse().unwrap());
        let tier = query.get("fieldSelector").and_then(|selector| selector.strip_prefix("spec.tier="));
        let called = called(request);
        let all = self.objects.get(&target.resource).into_iter().flatten();
        let wanted: Vec<_> = all
            .filter(|((namespace, _), _)| target.namespace.is_empty() || *namespace == target.namespace)
            .filter(|((_, name), _)| called.as_ref().is_none_or(|called| called == name))
            .filter(|(_, object)| tier.is_none_or(|tier| object["spec"]["tier"] == tier))
            .map(|(_, object)| shown(object, request))
            .collect();
        let to = from.saturating_add(limit).min(wanted.len());
        let token = if to < wanted.len() { to.to_string() } else { String::new() };
        let list = json!({"apiVersion": "v1", "kind": "List", "items": wanted[from.min(to)..to],
            "metadata": {"resourceVersion": self.version.to_string(), "continue": token}});
        ResponseTemplate::new(200).set_body_json(list)
    }

    /// What happened since a version; then the watch ends, as it does at its time limit, which here is short.
    fn watch(&self, target: &Target, request: &Request) -> ResponseTemplate {
        let query: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let since: u64 = query.get("resourceVersion").map_or(0, |version| version.parse().unwrap());
        let called = called(request);
        let mut body = String::new();
        for event in &self.events {
            let wanted = event.version > since
                && event.resource == target.resource
                && (target.namespace.is_empty() || event.key.0 == target.namespace)
                && called.as_ref().is_none_or(|called| *called == event.key.1);
            if wanted {
                let mut object = shown(&event.object, request);
                object["metadata"]["resourceVersion"] = json!(event.version.to_string());
                body += &json!({"type": event.kind, "object": object}).to_string();
                body.push('\n');
            }
        }
        let wait = if body.is_empty() { 100 } else { 0 };
        ResponseTemplate::new(200).set_body_raw(body, "application/json").set_delay(Duration::from_millis(wait))
    }

    /// A merge patch, as far as the tests need one: objects key by key.
    fn patch(&mut self, target: &Target, name: &str, request: &Request) -> ResponseTemplate {
        fn merge(into: &mut Value, from: Value) {
            match (into, from) {
                (Value::Object(into), Value::Object(from)) => {
                    from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
                }
                (into, from) => *into = from,
            }
        }
        let key = key(target, name);
        let Some(mut object) = self.objects.get(&target.resource).and_then(|all| all.get(&key)).cloned() else {
            return status(404, "not found");
        };
        merge(&mut object, request.body_json().unwrap());
        ResponseTemplate::new(200).set_body_json(self.store(&target.resource, key, object))
    }

    fn create(&mut self, target: &Target, request: &Request) -> ResponseTemplate {
        let mut object: Value = request.body_json().unwrap();
        if let Some(prefix) = object["metadata"]["generateName"].as_str() {
            object["metadata"]["name"] = json!(format!("{prefix}{}", self.version));
        }
        let key = key(target, object["metadata"]["name"].as_str().unwrap());
        if self.objects.get(&target.resource).is_some_and(|all| all.contains_key(&key)) {
            return status(409, "already exists");
        }
        ResponseTemplate::new(201).set_body_json(self.store(&target.resource, key, object))
    }

    fn replace(&mut self, target: &Target, name: &str, request: &Request) -> ResponseTemplate {
        let object: Value = request.body_json().unwrap();
        let key = key(target, name);
        let Some(old) = self.objects.get(&target.resource).and_then(|all| all.get(&key)) else {
            return status(404, "not found");
        };
        if old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return status(409, "the object has been modified");
        }
        ResponseTemplate::new(200).set_body_json(self.store(&target.resource, key, object))
    }
}

/// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`.
fn target(path: &str) -> Option<Target> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name) = match rest {
        [plural] => (*plural, None),
        [plural, name] => (*plural, Some((*name).to_owned())),
        _ => return None,
    };
    let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    Some(Target { resource, namespace: namespace.to_owned(), name })
}

/// The name that a field selector asks for.
fn called(request: &Request) -> Option<String> {
    let mut pairs = request.url.query_pairs();
    let selector = pairs.find(|(key, _)| key == "fieldSelector")?.1.into_owned();
    selector.strip_prefix("metadata.name=").map(str::to_owned)
}

fn key(target: &Target, name: &str) -> (String, String) {
    (target.namespace.clone(), name.to_owned())
}

/// An object, or its metadata alone where that was asked for.
fn shown(object: &Value, request: &Request) -> Value {
    let accept = request.headers.get("accept").and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("PartialObjectMetadata") {
        return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]});
    }
    object.clone()
}

fn status(code: u16, message: &str) -> ResponseTemplate {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 if message.contains("exists") => "AlreadyExists",
        409 => "Conflict",
        410 => "Expired",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    ResponseTemplate::new(code).set_body_json(json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "code": code, "reason": reason, "message": message}))
}
