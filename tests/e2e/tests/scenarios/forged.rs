//! The watcher's Job, as whoever stole its token would rather have it.

use anyhow::{Context, Result};
use e2e::objects::put;
use serde_json::{Value, json};

/// What an attacker would change of the template's Job: what it is, where it stands, its key and its new value. `POD` and
/// `CONTAINER` stand for the places of the two.
fn changes() -> Vec<(&'static str, &'static str, &'static str, Value)> {
    vec![
        ("image", "CONTAINER", "image", json!("registry.local/netcat:test")),
        ("image beside it", "CONTAINER", "image", json!("registry.local/netpol-verify-x:test")),
        ("registry of its name", "CONTAINER", "image", json!("registry.local/netpol-verify:5000/x")),
        ("command", "CONTAINER", "command", json!(["sh"])),
        ("arguments", "CONTAINER", "args", json!(["run", "--kustomize", "/tmp/x"])),
        ("privileged", "CONTAINER", "securityContext", json!({"privileged": true})),
        ("mount", "CONTAINER/volumeMounts/0", "mountPath", json!("/root")),
        ("variable", "CONTAINER/env/2", "value", json!("/etc/passwd")),
        ("life cycle", "CONTAINER", "lifecycle", json!({"postStart": {"exec": {"command": ["sh"]}}})),
        ("account", "POD", "serviceAccountName", json!("default")),
        ("host's network", "POD", "hostNetwork", json!(true)),
        ("host's processes", "POD", "hostPID", json!(true)),
        ("volume", "POD/volumes", "0", json!({"name": "config", "hostPath": {"path": "/"}})),
        ("another secret", "POD/volumes/1/secret", "secretName", json!("another")),
        ("init container", "POD", "initContainers", json!([{"name": "x", "image": "x"}])),
        ("names of hosts", "POD", "hostAliases", json!([{"ip": "203.0.113.1", "hostnames": ["matrix"]}])),
        ("name server", "POD", "dnsPolicy", json!("Default")),
        ("node", "POD", "nodeName", json!("node-1")),
        ("pod's security", "POD", "securityContext", json!({})),
        ("parallel", "/spec", "parallelism", json!(100)),
        ("completions", "/spec", "completions", json!(100)),
        ("time limit", "/spec", "activeDeadlineSeconds", json!(1_000_000)),
        ("no time limit", "/spec", "activeDeadlineSeconds", Value::Null),
        ("suspended", "/spec", "suspend", json!(true)),
        ("finalizer", "/metadata", "finalizers", json!(["example.org/x"])),
        ("owner", "/metadata/ownerReferences/0", "name", json!("another")),
        ("nobody's", "/metadata", "ownerReferences", json!([])),
    ]
}

/// What an attacker would add to one of its lists.
fn additions(job: &Value) -> Result<Vec<(&'static str, &'static str, Value)>> {
    let secret = json!({"secretKeyRef": {"name": "netpol-verify-matrix", "key": "token"}});
    let mut owner = job.pointer("/metadata/ownerReferences/0").cloned().context("the Job has no owner")?;
    put(&mut owner, "", "controller", json!(false))?;
    Ok(vec![
        ("second container", "POD/containers", json!({"name": "x", "image": "x"})),
        ("its artifact", "CONTAINER/env", json!({"name": "SOURCE_CONTROLLER_LOCALHOST", "value": "203.0.113.1:80"})),
        ("a secret as variable", "CONTAINER/env", json!({"name": "X", "valueFrom": secret})),
        ("a secret as revision", "CONTAINER/env", json!({"name": "NETPOL_VERIFY_REVISION", "valueFrom": secret})),
        ("second owner", "/metadata/ownerReferences", owner),
    ])
}

/// The template's Job, each time with one thing changed.
pub fn other_jobs(job: &Value) -> Result<Vec<(&'static str, Value)>> {
    let pod = "/spec/template/spec";
    let place = |short: &str| short.replace("CONTAINER", "POD/containers/0").replace("POD", pod);
    let mut jobs = Vec::new();
    for (what, at, key, value) in changes() {
        let mut job = job.clone();
        put(&mut job, &place(at), key, value)?;
        jobs.push((what, job));
    }
    for (what, at, element) in additions(job)? {
        let mut job = job.clone();
        let list = job.pointer_mut(&place(at)).and_then(Value::as_array_mut);
        list.with_context(|| format!("no list stands at {at}"))?.push(element);
        jobs.push((what, job));
    }
    Ok(jobs)
}
