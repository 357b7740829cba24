use serde_json::json;

use super::{yaml::documents, *};

const FILE: &str = "infra/k8s/pulse-events/network-policy.yaml";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

/// The flow of message.md: pulse-account/api → pulse-events/web:3001.
struct Case {
    web: Labels,
    api: Labels,
    events: Labels,
    account: Labels,
}

impl Case {
    fn new() -> Self {
        Self {
            web: labels(&[("app", "web"), ("pod-template-hash", "5d4f")]),
            api: labels(&[("app", "api"), ("pod-template-hash", "77c9")]),
            events: labels(&[("kubernetes.io/metadata.name", "pulse-events")]),
            account: labels(&[("kubernetes.io/metadata.name", "pulse-account")]),
        }
    }

    fn web(&self) -> Pods<'_> {
        Pods { namespace: "pulse-events", namespace_labels: &self.events, labels: &self.web }
    }

    fn api(&self) -> Pods<'_> {
        Pods { namespace: "pulse-account", namespace_labels: &self.account, labels: &self.api }
    }

    fn ingress<'a>(&'a self, policies: &'a [&'a PolicyDocument]) -> Missing<'a> {
        Missing {
            side: Direction::Ingress,
            subject: self.web(),
            peer: Peer::Pods(self.api()),
            protocol: Protocol::Tcp,
            port: Port::Number(3001),
            isolating: policies,
            namespace_policies: policies,
            other_rule: None,
        }
    }
}

/// The file after a person did what the entry says.
fn pasted(yaml: &str, entry: &Entry) -> String {
    let line = usize::try_from(entry.line.unwrap()).unwrap();
    let mut lines: Vec<&str> = yaml.lines().collect();
    let new: Vec<&str> = entry.entry.lines().collect();
    if entry.entry.contains(&format!("# in place of line {line}:")) {
        lines.splice(line - 1..line, new);
    } else {
        lines.splice(line..line, new);
    }
    lines.join("\n") + "\n"
}

/// Whether a rule of that direction lets exactly the example's peer and port through, and the policy selects `web`.
fn opens(document: &PolicyDocument, side: Direction, peer: &Value, port: &Value) -> bool {
    let selected = selector(document).unwrap().matches(&labels(&[("app", "web")]));
    let matches = |rule: &Value| {
        let list = |field: &str| rule.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        list(side.peer_field()) == [peer.clone()] && list("ports") == [port.clone()]
    };
    selected && rules(document, side).is_some_and(|rules| rules.iter().any(matches))
}

fn api_peer() -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "pulse-account"}},
           "podSelector": {"matchLabels": {"app": "api"}}})
}

fn port() -> Value {
    json!({"protocol": "TCP", "port": 3001})
}

const HEAD: &str = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: allow-ingress
  namespace: pulse-events
";

const WAYS_TO_WRITE: [(&str, &str); 10] = [
    (
        "flow selectors, dashes under their keys",
        "spec:\n  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n  ingress:\n  - from:\n    - podSelector: {matchLabels: {app: old}}\n    ports:\n    - {protocol: TCP, port: 80}\n",
    ),
    (
        "block selectors, indented dashes",
        "spec:\n  podSelector:\n    matchLabels:\n      app: web\n  policyTypes:\n    - Ingress\n  ingress:\n    - from:\n        - namespaceSelector:\n            matchLabels:\n              kubernetes.io/metadata.name: redis\n          podSelector:\n            matchLabels:\n              app: old\n      ports:\n        - protocol: TCP\n          port: 80\n",
    ),
    (
        "four spaces, wide dashes",
        "spec:\n    podSelector:\n        matchLabels:\n            app: web\n    ingress:\n        -   from:\n                -   podSelector:\n                        matchLabels:\n                            app: old\n            ports:\n                -   port: 80\n",
    ),
    (
        "other fields and comments after the rules",
        "spec:\n  # who may come in\n  ingress:\n    # the old one\n    - from:\n        - podSelector: {}   # all of ours\n      # nothing else\n  # isolate\n  policyTypes: [Ingress]\n  podSelector: {matchLabels: {app: web}}\n",
    ),
    (
        "flow rules in a block list",
        "spec:\n  podSelector: {}\n  ingress:\n  - {from: [{podSelector: {}}], ports: [{port: 80}]}\n  - {}\n",
    ),
    (
        "an anchor and its alias",
        "spec:\n  podSelector: &web\n    matchLabels:\n      app: web\n  ingress:\n  - from:\n    - podSelector: *web\n    ports:\n    - port: 80\n  - from:\n    - podSelector: *web\n",
    ),
    ("absent", "spec:\n  podSelector: {matchLabels: {app: web}}\n  policyTypes:\n  - Ingress\n# the end\n"),
    (
        "absent, with the other direction's style",
        "spec:\n  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress, Egress]\n  egress:\n    - to:\n        - podSelector:\n            matchLabels:\n              app: db\n",
    ),
    ("empty list", "spec:\n  podSelector: {matchLabels: {app: web}}\n  ingress: []\n  policyTypes: [Ingress]\n"),
    (
        "list in flow style",
        "spec:\n  podSelector: {matchLabels: {app: web}}\n  ingress: [{from: [{podSelector: {matchLabels: {on: \"true\"}}}]}]\n  policyTypes: [Ingress]\n",
    ),
];

#[test]
fn the_entry_can_be_pasted_into_every_style_of_file() {
    for (name, spec) in WAYS_TO_WRITE {
        for (before, after) in [("", ""), ("# first\n---\n", "---\napiVersion: v1\nkind: ConfigMap\n")] {
            let yaml = format!("{before}{HEAD}{spec}{after}");
            let parsed = documents(FILE, &yaml);
            let policy = parsed.iter().find(|document| document.id.kind == "NetworkPolicy").unwrap();
            let case = Case::new();
            let entries = missing_entry(&case.ingress(&[policy]));
            let [entry] = entries.as_slice() else { panic!("{name}: {entries:?}") };
            let cured = pasted(&yaml, entry);
            let again = documents(FILE, &cured);
            let document = again.iter().find(|document| document.id == policy.id).unwrap();
            assert!(!opens(policy, Direction::Ingress, &api_peer(), &port()), "{name}: open before\n{yaml}");
            assert!(opens(document, Direction::Ingress, &api_peer(), &port()), "{name}\n{cured}");
            let count = |document| rules(document, Direction::Ingress).unwrap_or_default().len();
            assert_eq!(count(document), count(policy) + 1, "{name}: the other rules stay\n{cured}");
            assert_eq!(again.len(), parsed.len(), "{name}");
        }
    }
}

#[test]
fn the_entry_looks_like_the_file() {
    let case = Case::new();
    let flow = format!(
        "{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{matchLabels: {{app: old}}}}\n"
    );
    let parsed = documents(FILE, &flow);
    let entries = missing_entry(&case.ingress(&[&parsed[0]]));
    let expected = "  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pulse-account}}
      podSelector: {matchLabels: {app: api}}
    ports:
    - {protocol: TCP, port: 3001}
";
    assert_eq!(entries[0].entry, expected);
    assert_eq!((entries[0].line, entries[0].file.as_deref()), (Some(10), Some(FILE)));
    assert_eq!(entries[0].policy.as_deref(), Some("allow-ingress"));

    let block = format!(
        "{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n    - from:\n        - podSelector:\n            matchLabels:\n              app: old\n      ports:\n        - protocol: TCP\n          port: 80\n"
    );
    let parsed = documents(FILE, &block);
    let expected = "    - from:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: pulse-account
          podSelector:
            matchLabels:
              app: api
      ports:
        - protocol: TCP
          port: 3001
";
    assert_eq!(missing_entry(&case.ingress(&[&parsed[0]]))[0].entry, expected);
}

#[test]
fn the_most_specific_policy_gets_it_and_the_baseline_never() {
    let yaml = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-all, namespace: pulse-events}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: everybody, namespace: pulse-events}
spec:
  podSelector: {}
  ingress:
  - from:
    - podSelector: {}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: pulse-events}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - podSelector: {}
";
    let parsed = documents(FILE, yaml);
    let all: Vec<&PolicyDocument> = parsed.iter().collect();
    let case = Case::new();
    let chosen = |policies: &[&PolicyDocument]| missing_entry(&case.ingress(policies))[0].policy.clone().unwrap();
    assert_eq!(chosen(&all), "web");
    assert_eq!(chosen(&all[..2]), "everybody");
    assert_ne!(chosen(&all[..1]), "default-deny-all");
    assert!(missing_entry(&case.ingress(&[])).is_empty(), "nothing isolates: nothing to add");
}

#[test]
fn with_the_baseline_alone_a_new_policy_goes_where_its_neighbours_are() {
    let baseline = "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-all, namespace: pulse-events}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
";
    let egress = format!(
        "{HEAD}spec:\n  podSelector: {{matchLabels: {{app: web}}}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    - podSelector: {{}}\n"
    );
    let (base, near) = (documents("baseline.yaml", baseline), documents(FILE, &egress));
    let case = Case::new();
    for (neighbours, file, text) in
        [(vec![&base[0]], "baseline.yaml", baseline.to_owned()), (vec![&base[0], &near[0]], FILE, egress.clone())]
    {
        let isolating = [&base[0]];
        let missing = Missing { namespace_policies: &neighbours, ..case.ingress(&isolating) };
        let entries = missing_entry(&missing);
        let entry = &entries[0];
        assert_eq!(entry.file.as_deref(), Some(file));
        assert!(entry.entry.starts_with("---\napiVersion: networking.k8s.io/v1\n"), "{}", entry.entry);
        let cured = documents(file, &pasted(&text, entry));
        assert_eq!(cured.len(), 2);
        assert_eq!(cured[1].id, crate::model::PolicyRef::network_policy("pulse-events", "allow-ingress-web"));
        assert!(opens(&cured[1], Direction::Ingress, &api_peer(), &port()), "{}", entry.entry);
        assert!(rules(&cured[1], Direction::Egress).is_none(), "it says nothing about the other direction");
    }
}

#[test]
fn a_name_that_is_taken_is_not_used_again() {
    let named = |name: &str| {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: pulse-events}}\nspec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n"
        );
        documents(FILE, &text).remove(0)
    };
    let (base, first) = (named("default-deny-all"), named("allow-ingress-web"));
    let case = Case::new();
    let entries = missing_entry(&case.ingress(&[&base, &first]));
    assert_eq!(entries[0].policy.as_deref(), Some("allow-ingress-web-2"));
}

#[test]
fn an_entry_opens_the_ports_of_the_other_side_and_no_others() {
    let yaml = format!("{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{}}\n");
    let parsed = documents(FILE, &yaml);
    let isolating = [&parsed[0]];
    let case = Case::new();
    let text = |other: Option<&Value>, port: Port| {
        let missing = Missing { other_rule: other, port, ..case.ingress(&isolating) };
        missing_entry(&missing)[0].entry.clone()
    };
    let both = json!({"ports": [{"port": 3001}, {"port": 3100, "endPort": 3110}, {"protocol": "UDP", "port": "dns"}]});
    let whole = text(Some(&both), Port::Number(3001));
    for line in
        ["{protocol: TCP, port: 3001}", "{protocol: TCP, port: 3100, endPort: 3110}", "{protocol: UDP, port: dns}"]
    {
        assert!(whole.contains(line), "{whole}");
    }
    let other = text(Some(&json!({"ports": [{"port": 80}]})), Port::Number(3001));
    assert!(other.contains("port: 3001") && !other.contains("port: 80"), "{other}");
    assert!(text(Some(&json!({})), Port::Number(3001)).contains("port: 3001"), "never every port");
    assert!(text(None, Port::Name("http")).contains("{protocol: TCP, port: http}"));
}

#[test]
fn an_outside_address_is_opened_alone() {
    let yaml = format!(
        "{HEAD}spec:\n  podSelector: {{}}\n  policyTypes: [Egress]\n  egress:\n  - to:\n    - ipBlock: {{cidr: 10.0.0.0/8}}\n"
    );
    let parsed = documents(FILE, &yaml);
    let isolating = [&parsed[0]];
    let case = Case::new();
    for (address, cidr) in [("203.0.113.7", "203.0.113.7/32"), ("2001:db8::7", "2001:db8::7/128")] {
        let peer = Peer::Outside(address.parse().unwrap());
        let missing = Missing { side: Direction::Egress, peer, ..case.ingress(&isolating) };
        let cured = documents(FILE, &pasted(&yaml, &missing_entry(&missing)[0]));
        assert!(opens(&cured[0], Direction::Egress, &json!({"ipBlock": {"cidr": cidr}}), &port()), "{cidr}");
    }
}

#[test]
fn labels_are_stable_and_in_the_file_s_own_words() {
    let own = "spec:\n  podSelector: {}\n  ingress:\n  - from:\n    - namespaceSelector: {matchLabels: {NSKEY: x}}\n      podSelector: {matchLabels: {PODKEY: x}}\n";
    for (pod_key, pods, expected) in [
        ("app", labels(&[("app", "api"), ("app.kubernetes.io/name", "api")]), "{app: api}"),
        (
            "app.kubernetes.io/name",
            labels(&[("app", "api"), ("app.kubernetes.io/name", "api")]),
            "{app.kubernetes.io/name: api}",
        ),
        ("app", labels(&[("app.kubernetes.io/name", "api")]), "{app.kubernetes.io/name: api}"),
        (
            "app",
            labels(&[("app.kubernetes.io/instance", "main"), ("app.kubernetes.io/name", "db")]),
            "{app.kubernetes.io/name: db, app.kubernetes.io/instance: main}",
        ),
        ("tier", labels(&[("app", "api"), ("tier", "web")]), "{app: api, tier: web}"),
        ("app", labels(&[("app", "true")]), "{app: \"true\"}"),
        ("app", labels(&[("app", "1.2")]), "{app: \"1.2\"}"),
        ("app", labels(&[("app", "on")]), "{app: \"on\"}"),
        ("app", labels(&[("app", "1e3")]), "{app: \"1e3\"}"),
        ("app", labels(&[("app", "")]), "{app: \"\"}"),
    ] {
        let yaml = format!("{HEAD}{}", own.replace("PODKEY", pod_key).replace("NSKEY", "team"));
        let parsed = documents(FILE, &yaml);
        let case = Case { api: pods, ..Case::new() };
        let entry = missing_entry(&case.ingress(&[&parsed[0]])).remove(0).entry;
        assert!(entry.contains(&format!("podSelector: {{matchLabels: {expected}}}\n")), "{expected}\n{entry}");
    }
    let unstable =
        labels(&[("pod-template-hash", "1"), ("job-name", "x"), ("statefulset.kubernetes.io/pod-name", "x-0")]);
    let case = Case { api: unstable, ..Case::new() };
    let parsed = documents(FILE, &format!("{HEAD}{own}"));
    let entry = missing_entry(&case.ingress(&[&parsed[0]])).remove(0).entry;
    assert!(entry.contains("podSelector: {}  # every pod"), "{entry}");
}

#[test]
fn a_namespace_is_named_by_what_only_it_has() {
    for (key, account, expected) in [
        ("name", labels(&[("name", "pulse-account")]), "{name: pulse-account}"),
        ("team", labels(&[("team", "blue")]), "{kubernetes.io/metadata.name: pulse-account}"),
    ] {
        let yaml = format!(
            "{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - namespaceSelector: {{matchLabels: {{{key}: x}}}}\n"
        );
        let parsed = documents(FILE, &yaml);
        let case = Case { account, ..Case::new() };
        let entry = missing_entry(&case.ingress(&[&parsed[0]])).remove(0).entry;
        assert!(entry.contains(&format!("namespaceSelector: {{matchLabels: {expected}}}\n")), "{entry}");
    }
    let yaml = format!("{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{}}\n");
    let parsed = documents(FILE, &yaml);
    let (isolating, case) = ([&parsed[0]], Case::new());
    let same = Pods { namespace: "pulse-events", namespace_labels: &case.events, labels: &case.api };
    let missing = Missing { peer: Peer::Pods(same), ..case.ingress(&isolating) };
    assert!(!missing_entry(&missing)[0].entry.contains("namespaceSelector"), "its own namespace needs no name");
}

#[test]
fn no_line_is_named_where_none_is_known() {
    let block = format!("{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{}}\n");
    let several = format!("{HEAD}spec:\n  podSelector: {{}}\n  ingress: [\n    {{}}\n  ]\n");
    let open_end =
        format!("{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n  - from: [\n      {{podSelector: {{}}}}\n    ]\n");
    let flow = format!("{HEAD}spec: {{podSelector: {{}}, ingress: [{{}}]}}\n");
    let nothing =
        format!("{HEAD}spec:\n  podSelector: {{matchLabels: {{app: web}}}}\n  ingress:\n  policyTypes: [Ingress]\n");
    let mut overlay = documents(FILE, &block).remove(0);
    if let Some(origin) = overlay.origins.fields.get_mut("/spec/ingress/0/from/0") {
        origin.line = None;
        origin.via = Some(crate::model::Via::Overlay);
    }
    let mut added = documents(FILE, &block).remove(0);
    added.object["spec"]["ingress"].as_array_mut().unwrap().push(json!({}));
    let mut live = documents(FILE, &block).remove(0);
    live.origins = crate::model::Origins::default();
    let case = Case::new();
    for (name, document, file) in [
        ("overlay", overlay, Some(FILE)),
        ("a rule that is not in the file", added, Some(FILE)),
        ("flow list over several lines", documents(FILE, &several).remove(0), Some(FILE)),
        ("flow peers over several lines", documents(FILE, &open_end).remove(0), Some(FILE)),
        ("flow spec", documents(FILE, &flow).remove(0), Some(FILE)),
        ("null", documents(FILE, &nothing).remove(0), Some(FILE)),
        ("JSON", documents("policy.json", &block).remove(0), Some("policy.json")),
        ("live", live, None),
    ] {
        let entry = missing_entry(&case.ingress(&[&document])).remove(0);
        assert_eq!((entry.line, entry.file.as_deref()), (None, file), "{name}");
        assert!(entry.entry.contains("app: api"), "{name}: the text is still of use");
    }
    let parsed = documents(FILE, &block);
    assert!(missing_entry(&case.ingress(&[&parsed[0]]))[0].line.is_some(), "the control");
}
