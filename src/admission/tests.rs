use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::probe::{Target, Wave};

fn config(text: &str) -> Config {
    let text = format!(
        "schema: netpol-verify/config/v1\nmatrix: {{homeserver: https://m.example.org, room: '!a:example.org'}}\n{text}"
    );
    Config::parse("config.yaml", &text).unwrap()
}

fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

fn shop() -> Config {
    config("productNamespaces: {names: [shop]}")
}

fn all(config: &Config, namespace: &str) -> String {
    policies(&Policy::ALWAYS, config, namespace, "netpol-verify").unwrap()
}

/// The expression of a policy's variable.
fn variable(documents: &[Value], name: &str) -> String {
    let all = documents.iter().filter_map(|d| d.pointer("/spec/variables")?.as_array()).flatten();
    let found = all.clone().find(|v| v["name"] == name);
    found.unwrap()["expression"].as_str().unwrap().to_owned()
}

/// `netpol-verify admission-policy --config job/config.yaml > job/admission.yaml` makes it so. A script that was
/// released goes into `PREVIOUS` first.
#[test]
fn job_ships_what_the_command_prints() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Config::load(&root.join("job/config.yaml")).unwrap();
    let shipped = std::fs::read_to_string(root.join("job/admission.yaml")).unwrap();
    assert_eq!(all(&config, "netpol-verify"), shipped);
}

#[test]
fn every_policy_denies_fails_closed_and_looks_at_one_account_of_its_namespace() {
    let documents = documents(&all(&shop(), "elsewhere"));
    assert_eq!(documents.len(), 2 * Policy::ALWAYS.len());
    for pair in documents.chunks(2) {
        let [policy, binding] = pair else { panic!("policy and binding") };
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        let conditions = policy["spec"]["matchConditions"].as_array().unwrap();
        let account = conditions[0]["expression"].as_str().unwrap();
        assert!(account.starts_with("request.userInfo.username == \"system:serviceaccount:elsewhere:netpol-verify"));
        assert_eq!(conditions.len(), 1);
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
        assert_eq!(binding["spec"]["validationActions"], serde_json::json!(["Deny"]));
    }
    let text = all(&shop(), "elsewhere");
    assert!(!text.contains("namespace@") && !text.contains("serviceaccount:netpol-verify"), "{text}");
}

#[test]
fn no_policy_has_a_parameter_that_the_api_server_may_lose() {
    for document in documents(&all(&shop(), "elsewhere")) {
        assert!(document["spec"].get("paramKind").is_none() && document["spec"].get("paramRef").is_none());
    }
}

#[test]
fn an_image_is_bounded_by_its_repository() {
    let printed = |image| policies(&[Policy::Jobs], &shop(), "netpol-verify", image);
    for image in ["netpol-verify", "registry.example.org:5000/tools/netpol-verify"] {
        assert_eq!(variable(&documents(&printed(image).unwrap()), "image"), format!("{image:?}"));
    }
    for image in ["", "a:1", "a@sha256:00", "a/", "a\" || true || \"", "a b"] {
        assert_eq!(printed(image), Err(Impossible::Image(image.to_owned())));
    }
}

#[test]
fn the_scripts_are_those_of_the_probe() {
    let documents = documents(&policies(&[Policy::Exec], &shop(), "netpol-verify", "netpol-verify").unwrap());
    let scripts = variable(&documents, "scripts");
    let expected: Vec<String> = [script::script()].iter().chain(PREVIOUS).map(|s| format!("r'''{s}'''")).collect();
    assert_eq!(scripts, format!("[{}]", expected.join(",\n")), "not a character was lost on the way through YAML");
}

#[test]
fn the_forms_are_those_of_the_probe() {
    let target = Target::tcp("10.0.3.7".parse().unwrap(), 8080, Duration::from_secs(2)).unwrap();
    let command = script::command(&vec![target; MAX_TARGETS], Wave::default());
    assert_eq!(command.len(), HEAD + MAX_TARGETS);
    let form = variable(
        &documents(&policies(&[Policy::Exec], &shop(), "netpol-verify", "netpol-verify").unwrap()),
        "isScript",
    );
    for (index, fixed) in [(0, "sh"), (1, "-c"), (3, "probe")] {
        assert_eq!(command[index], fixed);
        assert!(form.contains(&format!("variables.command[{index}] == \"{fixed}\"")), "{form}");
    }
    assert!(form.contains("size(variables.command) <= 69") && form.contains(", 68].all(i,"), "{form}");
    assert!(form.contains(TARGET_PATTERN) && form.contains(WAVE_PATTERN));
}

fn with_probe_image() -> Config {
    config("productNamespaces: {names: [shop]}\nprobe: {ephemeral: true, image: 'registry.example.org/probe:1'}")
}

/// The component `job/ephemeral`, whose image an installation replaces.
#[test]
fn job_ships_what_the_command_prints_for_containers_that_are_added() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("job/ephemeral");
    let config = config("productNamespaces: {names: [shop]}\nprobe: {image: netpol-verify-probe:0.1.0}");
    let shipped = std::fs::read_to_string(root.join("admission.yaml")).unwrap();
    assert_eq!(policies(&[Policy::Ephemeral], &config, "netpol-verify", "netpol-verify").unwrap(), shipped);
}

#[test]
fn what_is_added_is_what_the_probe_adds() {
    let documents = documents(&policies(&[Policy::Ephemeral], &with_probe_image(), "own", "netpol-verify").unwrap());
    let container =
        serde_json::to_value(container::container(container::NAME, "registry.example.org/probe:1")).unwrap();
    let parsed = |name: &str| serde_json::from_str::<Value>(&variable(&documents, name)).unwrap();
    assert_eq!(parsed("probeImage"), container["image"]);
    assert_eq!(parsed("command"), container["command"]);
    assert!(parsed("names").as_array().unwrap().contains(&container["name"]));
    assert_eq!(parsed("names").as_array().unwrap().len(), container::MOST);
    let rules: Vec<_> = documents[0]["spec"]["validations"].as_array().unwrap().iter().collect();
    let rules: String = rules.iter().map(|rule| rule["expression"].as_str().unwrap()).collect();
    for key in container["securityContext"].as_object().unwrap().keys() {
        assert!(rules.contains(&format!("has(c.securityContext.{key})")), "{key} is demanded");
    }
    assert_eq!(rules.matches("== 65532").count(), 2, "user and group");
}

#[test]
fn nothing_is_said_of_added_containers_where_they_are_not_opted_in() {
    assert!(!Policy::all(&shop()).contains(&Policy::Ephemeral));
    assert!(Policy::all(&with_probe_image()).contains(&Policy::Ephemeral));
    let without = policies(&[Policy::Ephemeral], &shop(), "netpol-verify", "netpol-verify");
    assert_eq!(without, Err(Impossible::NoProbeImage));
}

#[test]
fn the_namespaces_are_those_of_the_configuration() {
    let config = config(
        "productNamespaces: {names: ['plana-odoo*'], selector: \"team=a'b,!x\", exclude: [plana-odoo-old]}\n\
         probeNamespaces: [redis]",
    );
    let documents = documents(&policies(&[Policy::Namespaces], &config, "netpol-verify", "netpol-verify").unwrap());
    for (name, expression) in [
        ("names", r#"["plana-odoo*"]"#),
        ("exclude", r#"["plana-odoo-old"]"#),
        ("probe", r#"["redis"]"#),
        (
            "isSelected",
            r#""team" in variables.labels && variables.labels["team"] in ["a'b"] && !("x" in variables.labels)"#,
        ),
    ] {
        assert_eq!(variable(&documents, name), expression);
    }
    // Overlays patch them by their place.
    let order: Vec<_> =
        ["names", "exclude", "probe", "labels", "isSelected"].map(|name| variable(&documents, name)).into();
    let placed = documents[0]["spec"]["variables"].as_array().unwrap().iter().take(5);
    assert_eq!(placed.map(|v| v["expression"].as_str().unwrap().to_owned()).collect::<Vec<_>>(), order);
    let bare =
        super::tests::documents(&policies(&[Policy::Namespaces], &shop(), "netpol-verify", "netpol-verify").unwrap());
    assert_eq!(variable(&bare, "isSelected"), "false", "without a selector no label opens anything");
}

fn substituting() -> Config {
    config(
        "productNamespaces: {names: [shop]}\nsubstituteFrom: [vars, more]\n\
         kustomizations: [{namespace: flux-a, name: x}, {namespace: flux-b, name: y}, {namespace: flux-a, name: z}]",
    )
}

#[test]
fn a_role_names_the_config_maps_of_substitution_and_there_is_none_without() {
    let printed = |config: &Config| policies(&[Policy::Substitute], config, "own", "netpol-verify");
    assert_eq!(printed(&shop()), Err(Impossible::NoSubstitution));
    assert!(!Policy::all(&shop()).contains(&Policy::Substitute));
    let documents = documents(&printed(&substituting()).unwrap());
    let places: Vec<_> = documents.iter().map(|d| d["metadata"]["namespace"].as_str().unwrap()).collect();
    assert_eq!(places, ["flux-a", "flux-a", "flux-b", "flux-b"]);
    assert_eq!(documents[0]["rules"][0]["resourceNames"], serde_json::json!(["vars", "more"]));
    assert_eq!(documents[1]["subjects"][0]["namespace"], "own");
}

/// The README makes a patch of them, and there is nothing that a Role could be a patch of.
#[test]
fn the_bounds_of_an_overlay_are_policies_alone_and_the_roles_stand_last_among_all() {
    let kinds = |which: &[Policy]| -> Vec<String> {
        let printed = documents(&policies(which, &substituting(), "own", "netpol-verify").unwrap());
        printed.iter().map(|document| document["kind"].as_str().unwrap().to_owned()).collect()
    };
    let bounds = kinds(&[Policy::Namespaces, Policy::Jobs]);
    let pair = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
    assert_eq!(bounds, pair.repeat(2));
    let all = kinds(&Policy::all(&substituting()));
    assert_eq!(all, [pair.repeat(Policy::ALWAYS.len()), ["Role", "RoleBinding"].repeat(2)].concat());
}

#[test]
fn a_name_that_breaks_out_of_the_text_is_refused() {
    for namespace in ["", "a\" || true || \"", "a\nb", "A", "a:b"] {
        let refused = Err(Impossible::Namespace(namespace.to_owned()));
        assert_eq!(policies(&Policy::ALWAYS, &shop(), namespace, "netpol-verify"), refused);
        assert_eq!(policies(&[Policy::Substitute], &substituting(), namespace, "netpol-verify"), refused);
    }
}
