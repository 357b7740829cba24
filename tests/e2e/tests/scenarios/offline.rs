//! The commands that need no run, on the live cluster: what they say is what a dump of it says, what Git says where nobody
//! went behind its back, and what packets do.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context, Result};
use e2e::{Ran, Scene, Setup, eventually, objects::text, poll::seconds, scenario};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::edits::{DB, WEB, append, open_both_sides};

/// A set that no policy of the shop names: Flux writes its labels on it, which are none of Git's.
const PARTNERS: &str = "apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: partners, namespace: xx-store, labels: {role: partner}}
spec: {nets: [192.0.2.0/24]}
";
/// As people open something for a minute.
const TEMPORARY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: debug-temp, namespace: xx-shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{port: 443}]}]
";
/// What `list` looks at, as an administrator dumps it.
const POLICIES: &str = "networkpolicies.networking.k8s.io,networkpolicies.projectcalico.org,\
                        globalnetworkpolicies.projectcalico.org,networksets.projectcalico.org,\
                        globalnetworksets.projectcalico.org";
const REST: &str = "namespaces,nodes,pods,services,endpointslices.discovery.k8s.io,serviceaccounts,deployments.apps,\
                    replicasets.apps,statefulsets.apps,daemonsets.apps,cronjobs.batch,jobs.batch,\
                    clusterinformations.projectcalico.org";

/// Objects of the cluster, as `kubectl get -o json` prints them.
async fn dump(scene: &Scene, kinds: &str) -> Result<Value> {
    let printed = scene.cluster.kubectl(&["get", kinds, "-A", "-o", "json"]).await?;
    serde_json::from_str(&printed).context("kubectl printed no JSON")
}

/// The repository's files as they are now, and beside them the policies of all that is not the scene's: a Git that has the
/// whole cluster.
async fn git(scene: &Scene) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    copy(&scene.git.folder().join("infra"), &folder.path().join("infra"))?;
    let own: BTreeSet<String> = scene.fixture.namespaces().into_iter().collect();
    let mut others = dump(scene, POLICIES).await?;
    let items = others.get_mut("items").and_then(Value::as_array_mut).context("no list")?;
    items.retain(|policy| !own.contains(text(policy, "/metadata/namespace")));
    std::fs::write(folder.path().join("others.json"), others.to_string())?;
    Ok(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if path.is_dir() { copy(&path, &to.join(name))? } else { std::fs::copy(&path, to.join(name)).map(drop)? }
    }
    Ok(())
}

/// Waits until the scenes that played before are gone: what is on its way out would be there in one look, and not in the
/// next.
async fn quiet(scene: &Scene) -> Result<()> {
    eventually("no namespace is terminating", seconds(60), async || {
        let namespaces = dump(scene, "namespaces").await?;
        let items = namespaces.get("items").and_then(Value::as_array).context("no list")?;
        Ok(items.iter().all(|one| text(one, "/status/phase") == "Active").then_some(()))
    })
    .await
}

/// The difference between the live policies and Git's, over what runs.
async fn drift(scene: &Scene, git: &TempDir) -> Result<Ran> {
    scene.command(git.path(), &["diff", "live", ".", "--workloads", "live"]).await
}

/// Lines without the places that they end with.
fn lines(ran: &Ran) -> Vec<&str> {
    let lines = ran.out.lines().filter(|line| !line.is_empty());
    lines.map(|line| line.split(['[', '(']).next().unwrap_or(line).trim_end()).collect()
}

#[test]
fn the_live_cluster_is_listed_as_its_dump_and_as_git_over_its_workloads() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        quiet(scene).await?;
        let git = git(scene).await?;
        let all = dump(scene, &format!("{REST},{POLICIES}")).await?;
        std::fs::write(git.path().join("dump.yaml"), all.to_string())?;
        let list = async |args: &[&str]| {
            let ran = scene.command(git.path(), &[&["list", "-o", "json"], args].concat()).await?;
            assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
            serde_json::from_str::<Value>(&ran.out).with_context(|| format!("{args:?}: {ran:?}"))
        };
        let live = list(&["--live"]).await?;
        let flows = live["flows"].as_array().context("flows")?;
        let of = |end: &Value| format!("{}/{}", text(end, "/namespace"), text(end, "/name"));
        let is_sessions = |flow: &&Value| {
            of(&flow["source"]) == scene.text("xx-shop/web") && of(&flow["destination"]) == scene.text("xx-store/db")
        };
        let found: Vec<&Value> = flows.iter().filter(is_sessions).collect();
        assert_eq!(found.len(), 1, "the control: {found:?}");
        let ports: Vec<&Value> =
            found[0]["ports"].as_array().context("ports")?.iter().map(|port| &port["from"]).collect();
        assert_eq!(ports, [&json!(5432), &json!(6379)]);
        assert_eq!(list(&["-f", "dump.yaml"]).await?, live, "the dump says the same");
        let over = ["-f", "infra", "-f", "others.json", "--workloads", "live"];
        assert_eq!(list(&over).await?, live, "Git over what runs says the same");
        Ok(())
    })
}

#[test]
fn what_somebody_did_with_kubectl_is_all_that_differs_from_git() -> Result<()> {
    const FOLDER: &str = "infra/k8s/network-policies";
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        quiet(scene).await?;
        scene.git.write(&format!("{FOLDER}/partners.yaml"), &scene.text(PARTNERS))?;
        append(scene, &format!("{FOLDER}/kustomization.yaml"), "- partners.yaml\n")?;
        open_both_sides(scene, 6432)?;
        scene.merge("Let the shop use pgbouncer").await?;
        scene.wait_until(true, WEB, DB, 6432).await?;
        let git = git(scene).await?;
        let ran = drift(scene, &git).await?;
        assert_eq!((ran.code, lines(&ran)), (0, vec!["No flow differs."]), "what Flux adds is no difference: {ran:?}");

        scene.edit_policy("store", "allow-ingress", "6379", "6380").await?;
        scene.create(TEMPORARY, None).await?;
        scene.wait_until(false, WEB, DB, 6379).await?;
        let ran = drift(scene, &git).await?;
        let wanted = [
            "~ xx-shop/Deployment/web -> xx-store/Deployment/db: 5432,6432/TCP => 5432,6379,6432/TCP",
            "- xx-shop/Deployment/web -> 203.0.113.0/24: 443/TCP",
            "Policies:",
            "removed NetworkPolicy/xx-shop/debug-temp",
            "changed NetworkPolicy/xx-store/allow-ingress",
        ];
        assert_eq!(
            (ran.code, lines(&ran)),
            (1, wanted.map(|line| scene.text(line)).iter().map(String::as_str).collect())
        );

        // What is explained is what packets do.
        let (web, db) = (scene.text("xx-shop/web"), scene.text("xx-store/db"));
        let explain = async |from: &[&str], port: &str| {
            scene.command(git.path(), &[&["explain"], from, &[web.as_str(), db.as_str(), port]].concat()).await
        };
        for (port, code) in [(6379, 1), (6380, 1), (6432, 0)] {
            let ran = explain(&["--live"], &port.to_string()).await?;
            assert_eq!(ran.code, code, "{port}: {ran:?}");
            scene.wait_until(code == 0, WEB, DB, port).await?;
        }
        let denied = explain(&["--live"], "6379").await?;
        assert!(denied.out.contains(&scene.text("NetworkPolicy/xx-store/allow-ingress")), "{denied:?}");
        let wanted = explain(&["-f", ".", "--workloads", "live"], "6379").await?;
        assert_eq!(wanted.code, 0, "the control: Git allows it: {wanted:?}");

        scene.delete(TEMPORARY).await?;
        scene.flux.reconcile().await?;
        scene.wait_until(true, WEB, DB, 6379).await?;
        let ran = drift(scene, &git).await?;
        assert_eq!(ran.code, 0, "put back, nothing differs: {ran:?}");
        Ok(())
    })
}
