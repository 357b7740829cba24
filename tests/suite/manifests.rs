//! What is shipped twice says the same twice.

use std::path::{Path, PathBuf};

use netpol_verify::{
    admission::{self, Policy},
    config::Config,
};
use serde_json::{Value, json};

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn document(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(shipped(path)).unwrap()).unwrap()
}

#[test]
fn the_job_that_flux_makes_is_the_cron_jobs_with_its_trigger_and_follow() {
    let mut expected = document("job/cronjob.yaml")["spec"]["jobTemplate"]["spec"]["template"].clone();
    let container = &mut expected["spec"]["containers"][0];
    container["args"] = json!(["run", "--follow", "--log-format", "json"]);
    let trigger = json!({"name": "NETPOL_VERIFY_TRIGGER", "value": "schedule"});
    container["env"].as_array_mut().unwrap().insert(0, trigger);
    let job = document("kustomization/overlays/flux-only/policies-repository/job.yaml");
    assert_eq!(job["spec"]["template"], expected);
}

#[test]
fn the_example_is_bounded_to_the_namespaces_and_the_image_of_its_configuration() {
    let config = Config::load(&shipped("kustomization/overlays/plana/config.yaml")).unwrap();
    let which = [Policy::Namespaces, Policy::Jobs];
    let printed = admission::policies(&which, &config, "netpol-verify", "registry.example.org/netpol-verify").unwrap();
    let bounds = std::fs::read_to_string(shipped("kustomization/overlays/plana/bounds.yaml")).unwrap();
    assert_eq!(bounds, printed, "its README's command prints it");
}

/// As its operations page tells people to do by hand.
#[test]
fn the_example_reads_the_enforcers_log_and_has_the_right_to() {
    let config = Config::load(&shipped("kustomization/overlays/plana/config.yaml")).unwrap();
    let overlay = document("kustomization/overlays/plana/kustomization.yaml");
    assert!(config.evidence.is_some());
    assert_eq!(overlay["components"], json!(["../../../job/evidence"]));
}

#[test]
fn the_right_to_read_logs_is_one_role_in_one_namespace_and_stands_apart() {
    let all = std::fs::read_to_string(shipped("job/evidence/rbac.yaml")).unwrap();
    let documents: Vec<Value> =
        all.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect();
    let [role, binding] = documents.as_slice() else { panic!("a Role and its binding: {documents:?}") };
    assert_eq!(role["rules"], json!([{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]));
    let usual = netpol_verify::config::Evidence::default();
    for object in [role, binding] {
        assert_eq!(object["metadata"], json!({"name": "netpol-verify-evidence", "namespace": usual.namespace}));
    }
    assert_eq!((&role["kind"], &binding["kind"]), (&json!("Role"), &json!("RoleBinding")));
    assert_eq!(binding["roleRef"]["name"], "netpol-verify-evidence");
    assert_eq!(
        binding["subjects"],
        json!([{"kind": "ServiceAccount", "name": "netpol-verify", "namespace": "netpol-verify"}])
    );
    for path in ["job/rbac.yaml", "job/kustomization.yaml"] {
        let text = std::fs::read_to_string(shipped(path)).unwrap();
        assert!(!text.contains("pods/log") && !text.contains("- evidence"), "{path} grants it to nobody by itself");
    }
}

#[test]
fn the_sharded_sweep_is_the_cron_jobs_run_by_as_many_pods_as_have_places() {
    let (base, sharded) = (document("job/cronjob.yaml"), document("job/sharded/cronjob.yaml"));
    let mut expected = base["spec"]["jobTemplate"].clone();
    let job = &mut expected["spec"];
    let pods = sharded["spec"]["jobTemplate"]["spec"]["completions"].as_u64().unwrap();
    for (key, value) in
        [("completionMode", json!("Indexed")), ("completions", json!(pods)), ("parallelism", json!(pods))]
    {
        job[key] = value;
    }
    let tries = job.as_object_mut().unwrap().remove("backoffLimit").unwrap();
    job["backoffLimitPerIndex"] = tries;
    let pod = &mut job["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(1);
    pod["containers"][0]["args"] = json!(["run", "--sweep", "--log-format", "json"]);
    assert_eq!(sharded["spec"]["jobTemplate"], expected);

    let names: Vec<String> =
        (1..pods).map(|index| format!("{}{index}", netpol_verify::state::Places::PREFIX)).collect();
    let read = |path: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(shipped(path)).unwrap();
        text.split("\n---\n").map(|document| serde_saphyr::from_str(document).unwrap()).collect()
    };
    let places = read("job/sharded/places.yaml");
    assert_eq!(places.iter().map(|place| place["metadata"]["name"].clone()).collect::<Vec<_>>(), names);
    assert!(places.iter().all(|place| place.get("data").is_none()), "what is in them is not Git's: {places:?}");
    let role = &read("job/sharded/rbac.yaml")[0];
    let only =
        json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["get", "update"]}]);
    assert_eq!(role["rules"], only);
    assert!(!std::fs::read_to_string(shipped("job/kustomization.yaml")).unwrap().contains("sharded"), "default off");
}
