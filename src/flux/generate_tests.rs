use super::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    files.iter().map(|(name, content)| (*name, *content)).collect()
}

fn content(files: &[(&str, &str)], folder: &str, spec: &Value) -> Value {
    generate(&tree(files), folder, spec).unwrap().content
}

#[test]
fn a_plain_folder_lists_its_manifests_in_the_order_of_a_walk() {
    let files = [
        ("p/a-b.yaml", ""),
        ("p/a/z.yml", ""),
        ("p/a/b.yaml", ""),
        ("p/notes.md", ""),
        ("p/values.json", ""),
        ("p/own/kustomization.yml", "resources: [x.yaml]"),
        ("p/own/x.yaml", ""),
        ("p/own/deeper/y.yaml", ""),
        ("q/other.yaml", ""),
    ];
    let generated = generate(&tree(&files), "p", &json!({})).unwrap();
    assert_eq!(generated.file, "p/kustomization.yaml");
    assert_eq!(generated.content["resources"], json!(["./a/b.yaml", "./a/z.yml", "./a-b.yaml", "./own"]));
}

#[test]
fn an_empty_folder_gets_the_placeholder() {
    assert_eq!(content(&[("q/a.yaml", "")], "p", &json!({}))["namespace"], "_placeholder");
}

#[test]
fn the_flux_spec_goes_over_the_file_that_is_there() {
    let file = "resources: [a.yaml]\nnamespace: old\npatches: [{patch: one}]\nunknown: x\n\
                images: [{name: nc, newTag: '1', digest: 'sha256:0'}]\ncomponents: [c]\n";
    let spec = json!({
        "targetNamespace": "new", "namePrefix": "p-", "nameSuffix": "-s",
        "patches": [{"patch": "two", "target": {"kind": "NetworkPolicy"}}],
        "components": ["../d"], "buildMetadata": ["managedByLabel"],
        "images": [{"name": "nc", "newTag": "2"}, {"name": "other", "newName": "o"}],
    });
    assert_eq!(
        content(&[("p/Kustomization", file)], "p", &spec),
        json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": ["a.yaml"], "namespace": "new", "namePrefix": "p-", "nameSuffix": "-s",
            "patches": [{"patch": "one"}, {"patch": "two", "target": {"kind": "NetworkPolicy"}}],
            "components": ["c", "../d"], "buildMetadata": ["managedByLabel"],
            "images": [{"name": "nc", "newTag": "2"}, {"name": "other", "newName": "o"}],
        })
    );
}

#[test]
fn a_file_without_resources_gets_origin_annotations_as_flux_gives_it() {
    let generated = content(&[("kustomization.yaml", "buildMetadata: [managedByLabel]\n")], "", &json!({}));
    assert_eq!(generated["buildMetadata"], json!(["originAnnotations"]));
}

#[test]
fn missing_components_are_skipped_only_where_that_is_asked_for() {
    let files = [("p/kustomization.yaml", "resources: [a.yaml]"), ("c/kustomization.yaml", "")];
    let spec = json!({"components": ["../c", "../gone"]});
    assert_eq!(content(&files, "p", &spec)["components"], json!(["../c", "../gone"]));
    let spec = json!({"components": ["../c", "../gone"], "ignoreMissingComponents": true});
    assert_eq!(content(&files, "p", &spec)["components"], json!(["../c"]));
    for remote in ["https://x/y", "git@h:x", "/etc", "github.com/x/y", "FILE:///x"] {
        let fault = generate(&tree(&files), "p", &json!({"components": [remote]})).unwrap_err();
        assert!(matches!(fault, FluxFault::Component { .. }), "{remote}");
    }
}

#[test]
fn a_broken_file_is_told_with_its_place() {
    let fault = generate(&tree(&[("p/kustomization.yaml", "a: 1\na: 2\n")]), "p", &json!({})).unwrap_err();
    assert!(fault.to_string().starts_with("p/kustomization.yaml:2:1: "), "{fault}");
}

#[test]
fn origins_are_asked_for_beside_what_is_asked_for_already() {
    let spec = json!({"buildMetadata": ["managedByLabel"]});
    let generated = generate(&tree(&[("a.yaml", "")]), "", &spec).unwrap();
    assert_eq!(generated.with_origins().content["buildMetadata"], json!(["managedByLabel", "originAnnotations"]));
    assert_eq!(generated.content["buildMetadata"], json!(["managedByLabel"]));
}
