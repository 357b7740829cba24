//! What moves while a run is at work: newer revisions at each of its stages, pods that are replaced, a node that goes.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use lab::{
    api::{Api, Kind, object::text},
    faults::{ALWAYS, Action, Fault, Faults, action},
    net::{Denial, Net, PodSpec, Protocol, Shell, Tools, rules},
    world::Lab,
};
use oracle::tiers::World;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    probes::{made_up_for, pod},
    shop::{about, assert_green, assert_none_twice, assert_not_told, assert_told_once, open, play},
};

/// Merges a newer revision, which changes no policy, and gives it with the action that has Flux apply it.
fn newer(lab: &Lab) -> (String, Action) {
    lab.git.write("README.md", "How we do things here\n");
    let newer = lab.git.merge("Write a README");
    let (flux, commit) = (Arc::clone(&lab.flux), newer.clone());
    let applied = action(move || {
        let (flux, commit) = (Arc::clone(&flux), commit.clone());
        async move { flux.apply(&commit).await.expect("it applies") }
    });
    (newer, applied)
}

/// A newer revision is applied at a stage of the run: both are answered for, and the newer one is told of once.
fn at_stage(faults: impl Fn(&Lab) -> &Faults, method: &'static str, path: &'static str) -> Result<()> {
    play(async |lab| {
        let older = open(lab).await?;
        let (newer, applied) = newer(lab);
        faults(lab).add(method, path, 1, Fault::Meanwhile(applied));
        assert_green(&lab.run_for(&older).await?)?;
        ensure!(faults(lab).all_met(), "the fault met no request");
        assert_green_or_known(&lab.run_for(&newer).await?)?;
        let flows = lab.verifier.finished().into_iter().filter_map(|run| run.report().ok().cloned());
        let seen = flows.flat_map(|report| report.flows).any(|flow| flow.port == 6432 && flow.result == "verified");
        ensure!(seen, "the flow of the merge was not seen");
        ensure!(about(lab, &older).len() <= 1, "{:#?}", lab.matrix.top());
        assert_told_once(lab, &newer, "✅")
    })
}

/// Green, or already answered for.
fn assert_green_or_known(run: &lab::world::Finished) -> Result<()> {
    ensure!(run.code == Some(0), "exit {:?}\n{}\n{}", run.code, run.stdout, run.log);
    Ok(())
}

fn api(lab: &Lab) -> &Faults {
    &lab.api.faults
}

#[test]
fn a_newer_revision_while_flux_is_asked_is_adopted() -> Result<()> {
    row!(Green, "");
    at_stage(api, "GET", "/kustomizations/network-policies")
}

#[test]
fn a_newer_revision_while_the_source_is_asked_is_adopted() -> Result<()> {
    row!(Green, "");
    at_stage(api, "GET", "/gitrepositories/")
}

#[test]
fn a_newer_revision_while_the_artifact_is_fetched_is_adopted() -> Result<()> {
    row!(Green, "");
    at_stage(|lab| &lab.flux.artifacts.faults, "GET", ".tar.gz$")
}

#[test]
fn a_newer_revision_while_pods_are_listed_is_adopted() -> Result<()> {
    row!(Green, "");
    at_stage(api, "GET", "/api/v1/pods?")
}

#[test]
fn a_newer_revision_while_policies_are_listed_is_adopted() -> Result<()> {
    row!(Green, "");
    at_stage(api, "GET", "/networkpolicies?")
}

#[test]
fn a_newer_revision_while_the_state_is_written_is_the_next_runs() -> Result<()> {
    row!(Green, "");
    at_stage(api, "PUT", "/configmaps/netpol-verify-state")
}

#[test]
fn a_newer_revision_while_the_message_is_sent_is_the_next_runs() -> Result<()> {
    row!(Green, "");
    at_stage(|lab| &lab.matrix.faults, "PUT", "/send/m.room.message/")
}

fn typed<T: DeserializeOwned>(api: &Api, resource: &str) -> Vec<T> {
    api.all(resource).into_iter().map(|object| serde_json::from_value(object).expect("it is one")).collect()
}

/// The workload's controller replaces its pod: another name, uid and address, and everything behind it follows.
async fn replace(api: &Api, net: &Net, old: &Value) -> Result<()> {
    let (namespace, name) = (text(old, "/metadata/namespace"), text(old, "/metadata/name"));
    let spec = PodSpec {
        name: format!("{namespace}/{name}-new"),
        ports: [5432, 6432, 6379, 8080].map(|port| (Protocol::Tcp, port)).to_vec(),
        tools: Tools::openbsd(Shell::Dash),
        ..PodSpec::default()
    };
    let ip = net.add_pod(&spec).await?.addresses.first().context("no address")?.to_string();
    let mut new = old.clone();
    new["metadata"] = json!({
        "namespace": namespace, "name": format!("{name}-new"), "labels": old.pointer("/metadata/labels"),
        "ownerReferences": old.pointer("/metadata/ownerReferences"),
    });
    (new["status"]["podIP"], new["status"]["podIPs"]) = (json!(ip), json!([{ "ip": ip }]));
    let told = |refusal: lab::api::Refusal| anyhow::anyhow!(refusal.message);
    api.store(|store| store.delete(&Kind::new("v1", "Pod", "pods"), namespace, name)).map_err(told)?;
    api.apply(&new).map_err(told)?;
    net.remove_pod(&format!("{namespace}/{name}")).await?;
    let plain = oracle::Cluster {
        namespaces: typed::<Namespace>(api, "namespaces"),
        pods: typed::<Pod>(api, "pods"),
        policies: typed::<NetworkPolicy>(api, "networkpolicies.networking.k8s.io"),
    };
    let world = World { plain, ..World::default() };
    Ok(net.enforce(&rules(&world, &[]), Denial::Drop).await?)
}

fn replaced(app: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let (namespace, name) = pod(lab, app)?;
        let old = lab.api.get("pods", &namespace, &name).context("no such pod")?;
        let (api, net) = (Arc::clone(&lab.api), Arc::clone(&lab.net));
        let goes = action(move || {
            let (api, net, old) = (Arc::clone(&api), Arc::clone(&net), old.clone());
            async move { replace(&api, &net, &old).await.expect("it is replaced") }
        });
        lab.api.faults.add("GET", "/exec?", 1, Fault::Meanwhile(goes));
        let run = lab.run_for(&commit).await?;
        assert_green(&run)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        ensure!(run.report()?.flows.iter().any(|flow| flow.port == 6432), "{}", run.report()?);
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_target_that_its_workload_replaces_is_looked_at_again() -> Result<()> {
    row!(Green, "");
    replaced("db")
}

#[test]
fn a_source_that_its_workload_replaces_is_looked_from_again() -> Result<()> {
    row!(Green, "");
    replaced("web")
}

#[test]
fn a_node_that_is_gone_is_no_denial() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "6s"}}))?;
        let commit = open(lab).await?;
        let (namespace, name) = pod(lab, "db")?;
        lab.net.set_dead(&format!("{namespace}/{name}"), true).await?;
        lab.api.faults.add("GET", &format!("/pods/{name}/exec?"), ALWAYS, Fault::Silent);
        let node = lab.api.get("nodes", "", "node-1").context("there is no node")?;
        let _ = lab.api.store(|store| store.delete(&Kind::new("v1", "Node", "nodes"), "", "node-1"));
        assert_not_told(&lab.run_for(&commit).await?)?;
        ensure!(about(lab, &commit).len() == 1, "the room is told once: {:#?}", lab.matrix.top());
        lab.put(&node)?;
        lab.net.set_dead(&format!("{namespace}/{name}"), false).await?;
        made_up_for(lab, &commit).await?;
        assert_none_twice(lab)
    })
}
