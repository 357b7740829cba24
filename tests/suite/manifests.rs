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
