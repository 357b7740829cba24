//! Pictures of the commands: what they hold, not how they look.

use std::{collections::BTreeSet, path::Path};

use super::support::{Ran, folder, pod, policy, run_in};

const PLANA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plana");

/// The lines of all titles.
fn told(ran: &Ran) -> Vec<String> {
    let document = roxmltree::Document::parse(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let titles = document.descendants().filter(|node| node.tag_name().name() == "title").filter_map(|node| node.text());
    titles.flat_map(str::lines).map(str::to_owned).collect()
}

/// The flows of the first customer, but for those of the folder that only kustomize can read.
fn plana() -> Vec<String> {
    let folders = std::fs::read_dir(Path::new(PLANA).join("infra/k8s")).unwrap();
    let names = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "network-policies").collect();
    names.sort();
    let paths = names.into_iter().map(|name| format!("infra/k8s/{name}"));
    let paths = paths.chain(["workloads".to_owned(), "namespaces.yaml".to_owned()]);
    paths.flat_map(|path| ["-f".to_owned(), path]).collect()
}

#[test]
fn every_flow_of_the_list_is_in_the_picture_of_the_customer() {
    let set = plana();
    let run = |form: &str| {
        let set = set.iter().map(String::as_str);
        run_in(Path::new(PLANA), &["list", "-o", form].into_iter().chain(set).collect::<Vec<_>>(), "")
    };
    let (text, json) = (run("text"), run("json").json());
    let flows = json["flows"].as_array().unwrap().len();
    assert!(flows > 20, "{text:?}");
    let picture = told(&run("svg"));
    let flows_told: Vec<&String> = picture.iter().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(flows_told.len(), flows, "{picture:?}");
    let lines: BTreeSet<&str> = text.lines().into_iter().collect();
    assert_eq!(flows_told.iter().map(|line| line.as_str()).collect::<BTreeSet<_>>(), lines);
    assert_eq!(run("svg").out, run("svg").out, "the same input gives the same picture");
}

#[test]
fn every_flow_that_differs_is_in_the_picture_with_its_sign() {
    let workloads =
        pod("shop/web", "app: web", "", "") + &pod("shop/db", "app: db", "", "") + &pod("ops/x", "", "", "");
    let old = policy(
        "shop/a",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]}",
    );
    let new = policy(
        "shop/a",
        "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}, {port: 81}]}, \
         {from: [{namespaceSelector: {}}], ports: [{port: 82}]}]}",
    ) + &policy("shop/b", "{podSelector: {matchLabels: {app: web}}}");
    let files = folder(&[("old.yaml", &old), ("new.yaml", &new), ("w.yaml", &workloads)]);
    let run =
        |form: &str| run_in(files.path(), &["diff", "old.yaml", "new.yaml", "--workloads", "w.yaml", "-o", form], "");
    let (text, svg) = (run("text"), run("svg"));
    assert_eq!((text.code, svg.code), (1, 1), "{svg:?}");
    let flows: Vec<&str> = text.lines().into_iter().take_while(|line| !line.is_empty()).collect();
    let signs: BTreeSet<char> = flows.iter().filter_map(|line| line.chars().next()).collect();
    assert_eq!(signs, BTreeSet::from(['+', '-', '~']), "{text:?}");
    let picture = told(&svg);
    for flow in flows {
        assert!(picture.iter().any(|line| line.replace("  ", " ") == flow.replace("  ", " ")), "{flow}: {picture:?}");
    }
    for (sign, ink) in [("+", "#00785a"), ("- ", "#c04a00"), ("~", "#0066a6")] {
        assert!(svg.out.contains(&format!("fill=\"{ink}\"")), "{sign}");
    }
    assert!(svg.out.contains("changed NetworkPolicy/shop/a") && svg.out.contains("added NetworkPolicy/shop/b"));
}

#[test]
fn names_of_the_input_cannot_become_markup() {
    let hostile = "\"<title><script>x&<!---->\"";
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {hostile}, namespace: {hostile}}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: b, namespace: shop}}\n"
    );
    let ran = super::support::over(&text, &["list", "-o", "svg"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let picture = told(&ran);
    assert!(picture.iter().any(|line| line.contains("<title><script>x&<!--")), "{picture:?}");
    assert!(!ran.out.contains("<script") && !ran.out.contains("<!--"), "{ran:?}");
}

#[test]
fn what_is_asked_for_is_drawn_and_a_picture_of_nothing_says_so() {
    let text = pod("shop/a", "", "", "") + &pod("shop/b", "", "", "") + &pod("shop/c", "", "", "");
    let ran = super::support::over(&text, &["list", "-o", "svg", "--from", "shop/a", "--to", "shop/b"]);
    let flows: Vec<String> = told(&ran).into_iter().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(flows, ["shop/a -> shop/b: all ports"]);
    let closed = text + &policy("shop/deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}");
    let ran = super::support::over(&closed, &["list", "-o", "svg"]);
    assert!(ran.code == 0 && ran.out.contains("No flow is allowed."), "{ran:?}");
    told(&ran);
}
