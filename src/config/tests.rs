use super::*;
use crate::model::{Labels, NamespaceInfo, Snapshot};

const SMALL: &str = "schema: netpol-verify/config/v1\nproductNamespaces: {names: [\"plana-odoo*\"]}\nmatrix: {homeserver: https://matrix.example.org, room: \"!abc:example.org\"}\n";

#[test]
fn what_is_not_said_has_the_documented_default() {
    let config = Config::parse("config.yaml", SMALL).unwrap();
    assert_eq!(config.kustomizations[0].to_string(), "flux-system/network-policies");
    assert_eq!(config.probe.timeout.get().as_secs(), 2);
    assert_eq!(config.probe.settle.get().as_secs(), 30);
    assert_eq!(config.flux.stuck.get().as_secs(), 900);
    assert!(config.matrix.quiet_merges && !config.matrix.weekly.is_on());
    let empty = SMALL.replace("room:", "weekly: \"\", room:");
    assert_eq!(Config::parse("config.yaml", &empty).unwrap(), config);
    assert_eq!(config.watch.on, WatchOn::Revision);
    // What --dry-run prints is a configuration again.
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(Config::parse("printed", &printed).unwrap(), config);
}

#[test]
fn all_that_the_documented_file_says_is_read() {
    let text = include_str!("../../tests/fixtures/config.yaml");
    let config = Config::parse("config.yaml", text).unwrap();
    assert_eq!(config.destinations[1].members, ["acme.planapulse.app"]);
    assert_eq!(config.expectations[1].is, Expected::Unreachable);
    assert_eq!(config.accept.len(), 2);
    assert_eq!(config.matrix.weekly.to_string(), "Mon 08:00");
    assert_eq!(config.limits().never[0].port, Some(5432));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (text, wrong, expected) in [
        ("productNamespaces:", "productNamespace:", "2:1: unknown field"),
        ("room:", "rooms:", "3:50: unknown field"),
        ("names: [\"plana-odoo*\"]", "names: []", "2:20: productNamespaces names none"),
        ("names: [\"plana-odoo*\"]", "names: [\"Plana Odoo\"]", "2:20: `Plana Odoo` is neither"),
        ("names: [\"plana-odoo*\"]", "selector: \"a b\"", "2:20: productNamespaces.selector"),
        ("https://", "ftp://", "3:22: matrix.homeserver `ftp://"),
        ("\"!abc:example.org\"", "abc", "3:56: matrix.room `abc` is neither"),
        ("config/v1", "config/v9", "1:9: schema is"),
    ] {
        let error = Config::parse("config.yaml", &SMALL.replacen(text, wrong, 1)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.yaml:{expected}")), "{error}");
        assert!(!error.contains("at line"), "the place once: {error}");
    }
    let typo = format!("{SMALL}probe: {{timeout: 2s, setle: 30s}}\n");
    let error = Config::parse("config.yaml", &typo).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:4:") && error.contains("setle"), "{error}");
    let short = format!("{SMALL}probe:\n  timeout: 1s\n");
    let error = Config::parse("config.yaml", &short).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:5:12: probe.timeout 1s is not within 2 s"), "{error}");
    let day = SMALL.replace("room:", "weekly: \"Moo 08:00\", room:");
    let error = Config::parse("config.yaml", &day).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:3:") && error.contains("Moo 08:00"), "{error}");
    let unknown = format!("{SMALL}watch:\n  on: merge\n");
    let error = Config::parse("config.yaml", &unknown).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:5:7") && error.contains("merge"), "{error}");
    let unknown = format!("{SMALL}watch: {{at: digest}}\n");
    let error = Config::parse("config.yaml", &unknown).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:4:") && error.contains("`at`"), "{error}");
    let zero = format!("{SMALL}probe:\n  timeout: 0s\n");
    let error = Config::parse("config.yaml", &zero).unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:5:12") && error.contains("0s"), "{error}");
}

#[test]
fn hosts_and_expectations_are_read_in_the_form_that_people_use_and_no_other() {
    for (line, place, text) in [
        ("expectations: [{from: {namespace: a}, to: kubernetes.default, is: reachable}]", "4:43", "is not host:port"),
        ("expectations:\n- from: {namespace: a}\n  to: 'pg01:5432/SCTP'\n  is: reachable", "6:7", "asks for `SCTP`"),
        ("expectations: [{from: {namespace: a}, to: 'a b:1', is: reachable}]", "4:43", "is not host:port"),
        ("destinations: [{name: pg01, ports: [1], from: [\"A b\"]}]", "4:47", "neither a namespace nor a pattern"),
        ("destinations: [{name: \"pg 01\", ports: [1]}]", "4:15", "neither a host name nor an address"),
        ("destinations: [{name: \"*.a\", ports: [1]}]", "4:15", "name its `members`"),
    ] {
        let error = Config::parse("config.yaml", &format!("{SMALL}{line}\n")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.yaml:{place}: ")) && error.contains(text), "{error}");
    }
    let text = format!(
        "{SMALL}destinations: [{{name: \"*.a.example\", members: [b.a.example], ports: [443], from: [\"plana-odoo*\"]}}]\n"
    );
    let config = Config::parse("config.yaml", &text).unwrap();
    assert_eq!(config.destinations[0].names(), ["b.a.example"]);
    assert!(config.destinations[0].is_expected_from("plana-odoo-acme"));
    assert!(!config.destinations[0].is_expected_from("redis"));
    let printed = serde_saphyr::to_string(&config).unwrap();
    assert_eq!(Config::parse("printed", &printed).unwrap(), config);
}

#[test]
fn containers_are_added_only_with_an_image_to_add() {
    let parse = |probe: &str| Config::parse("config.yaml", &format!("{SMALL}probe: {probe}\n"));
    let error = parse("{ephemeral: true}").unwrap_err().to_string();
    assert!(error.starts_with("config.yaml:4:") && error.contains("needs probe.image"), "{error}");
    for image in ["''", "a b", "'a\" || true || \"'", "'a:'", "registry/"] {
        let error = parse(&format!("{{image: {image}}}")).unwrap_err().to_string();
        assert!(error.starts_with("config.yaml:4:16: probe.image `"), "{error}");
    }
    let on = parse("{ephemeral: true, image: 'registry.example.org:5000/probe:1@sha256:00'}").unwrap();
    assert!(on.probe.ephemeral);
    for off in ["{ephemeral: false, image: null}", "{image: probe:1}"] {
        assert!(!parse(off).unwrap().probe.ephemeral);
    }
}

/// The right to read logs is one to be given: nothing is read unless it is asked for.
#[test]
fn evidence_is_looked_for_where_calico_s_operator_puts_it_unless_another_place_is_said() {
    let of = |text: &str| Config::parse("config.yaml", &format!("{SMALL}{text}\n")).map(|config| config.evidence);
    assert_eq!(of("").unwrap(), None);
    assert_eq!(of("evidence: null").unwrap(), None);
    let usual = of("evidence: {}").unwrap().unwrap();
    assert_eq!(
        (usual.namespace.as_str(), usual.selector.to_string().as_str()),
        ("calico-system", "k8s-app=calico-node")
    );
    assert!(usual.enforcers().selector.matches(&[("k8s-app".to_owned(), "calico-node".to_owned())].into()));
    let said = of("evidence: {namespace: kube-system, selector: \"app in (felix, drops)\"}").unwrap().unwrap();
    assert_eq!(said.namespace, "kube-system");
    let enforcers = said.enforcers();
    assert!(enforcers.selector.matches(&[("app".to_owned(), "drops".to_owned())].into()));
    assert!(!enforcers.selector.matches(&[("k8s-app".to_owned(), "calico-node".to_owned())].into()));
    let config = Config::parse("config.yaml", &format!("{SMALL}evidence: {{}}\n")).unwrap();
    assert_eq!(Config::parse("printed", &serde_saphyr::to_string(&config).unwrap()).unwrap(), config);
    for (text, place) in [
        ("evidence: {namespace: \"calico-*\"}", "4:23: `calico-*` is no namespace"),
        ("evidence: {namespace: \"\"}", "4:23: `` is no namespace"),
        ("evidence: {selector: \"a b\"}", "4:22: selector `a b`"),
        ("evidence: {selector: \"\"}", "4:22: selector `` is no label requirement"),
        ("evidence: {pods: x}", "4:"),
    ] {
        let error = of(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config.yaml:{place}")), "{error}");
    }
}

#[test]
fn the_allowlist_is_a_path_in_the_artifact() {
    let config = Config::parse("config.yaml", &format!("{SMALL}allowlist: infra/k8s/allowlist.yaml\n")).unwrap();
    assert_eq!(config.allowlist.as_deref(), Some("infra/k8s/allowlist.yaml"));
    for path in ["/etc/passwd", "../allowlist.yaml", "infra/../../a.yaml", "\"\""] {
        let error = Config::parse("config.yaml", &format!("{SMALL}allowlist: {path}\n")).unwrap_err().to_string();
        assert!(error.starts_with("config.yaml:4:12: allowlist `"), "{error}");
    }
}

#[test]
fn a_product_namespace_stays_one_until_it_is_deleted_or_excluded() {
    let product = ProductNamespaces {
        names: vec!["plana-odoo*".to_owned()],
        selector: Some("product=yes".to_owned()),
        exclude: vec!["plana-odoo-old".to_owned()],
    };
    let set = NamespaceSet::new(&product, &["redis".to_owned()]).unwrap();
    let mut snapshot = Snapshot::default();
    let labelled: Labels = [("product".to_owned(), "yes".to_owned())].into();
    for (name, labels) in [
        ("plana-odoo-acme", Labels::new()),
        ("plana-odoo-old", Labels::new()),
        ("shop", labelled),
        ("was", Labels::new()),
    ] {
        snapshot.namespaces.insert(name.to_owned(), NamespaceInfo { labels, terminating: false });
    }
    let before = ["was".to_owned(), "deleted".to_owned(), "plana-odoo-old".to_owned()];
    let names: Vec<String> = set.product(&snapshot, &before).into_iter().collect();
    assert_eq!(names, ["plana-odoo-acme", "shop", "was"]);
    assert!(set.may_probe("redis") && !set.may_probe("shop"));
}
