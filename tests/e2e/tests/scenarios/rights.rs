//! What whoever steals a token of the verifier can do with it: nothing but what the verifier does.

use anyhow::{Context, Result};
use e2e::{
    Account, Scene, Setup, WATCHER,
    account::Answer,
    eventually,
    objects::{self, Kind, put, text},
    poll::seconds,
    scenario,
};
use kube::api::AttachParams;
use netpol_verify::probe::{Target, Wave, script};
use serde_json::{Value, json};

use crate::{
    edits::{DB, WEB},
    forged,
};

const VERIFIER: &str = "netpol-verify";
const CRON_JOB: Kind<'static> = Kind("batch/v1", "CronJob");

fn plain() -> AttachParams {
    AttachParams::default().stdin(false).stdout(true).stderr(true)
}

/// A pod, and the address of another one.
async fn ends(scene: &Scene) -> Result<(Value, String)> {
    let mut web = scene.pods(WEB.0, WEB.1).await?.pop().context("the shop runs")?;
    put(&mut web, "/metadata", "namespace", json!(scene.namespace(WEB.0)))?;
    let db = scene.pods(DB.0, DB.1).await?.pop().context("the database runs")?;
    Ok((web, text(&db, "/status/podIP").to_owned()))
}

/// The command that the probe runs, for one target.
fn probe(address: &str) -> Result<Vec<String>> {
    let target = Target::tcp(address.parse()?, 5432, seconds(2))?;
    Ok(script::command(&[target], Wave::default()))
}

fn words(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

/// New policies take a moment to be in effect.
async fn in_effect(account: &Account, pod: &Value) -> Result<()> {
    eventually("the admission policies are in effect", seconds(20), async || {
        Ok(account.exec(pod, &["true"], &plain()).await?.is_by_policy().then_some(()))
    })
    .await
}

#[test]
fn the_verifiers_token_runs_its_probe_in_pods_and_nothing_else() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let account = Account::of(&scene.cluster, scene.verifier.namespace(), VERIFIER).await?;
        let (pod, address) = ends(scene).await?;
        in_effect(&account, &pod).await?;
        let real = probe(&address)?;
        let answer = account.exec(&pod, &words(&real), &plain()).await?;
        let Answer::Admitted(said) = answer else { panic!("the probe itself is denied: {answer:?}") };
        assert!(said.contains("done 1"), "the control ran: {said}");
        let nc = ["nc", "-zvnw2", &address, "5432"];
        assert!(matches!(account.exec(&pod, &nc, &plain()).await?, Answer::Admitted(_)), "so does the other form");

        for attack in commands(&real, &address)? {
            let answer = account.exec(&pod, &words(&attack), &plain()).await?;
            assert!(answer.is_by_policy(), "{attack:?}: {answer:?}");
        }
        let with_input = plain().stdin(true);
        let with_terminal = plain().tty(true).stderr(false);
        for how in [&with_input, &with_terminal] {
            for command in [&real, &nc.map(str::to_owned).to_vec()] {
                let answer = account.exec(&pod, &words(command), how).await?;
                assert!(answer.is_by_policy(), "{how:?}: {answer:?}");
            }
        }
        Ok(())
    })
}

/// The probe's two commands, each with one thing changed, and what an attacker would rather run.
fn commands(real: &[String], address: &str) -> Result<Vec<Vec<String>>> {
    let own = |command: &[&str]| command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let with = |index: usize, word: &str| {
        let words = real.iter().enumerate();
        words.map(|(at, own)| if at == index { word } else { own }.to_owned()).collect::<Vec<_>>()
    };
    let and = |more: &[&str]| [real.to_vec(), own(more)].concat();
    let (target, without) = real.split_last().context("the command has a target")?;
    let mut many = without.to_vec();
    many.resize(without.len() + script::MAX_TARGETS + 1, target.clone());
    Ok(vec![
        own(&["sh"]),
        own(&["sh", "-c", "id"]),
        own(&["sh", "-c", "nc -zvnw2 10.0.0.1 80", "probe", "wave:8", target]),
        own(&["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]),
        with(0, "bash"),
        with(1, "-ic"),
        with(2, &format!("{}\nid", script::script())),
        with(2, ""),
        with(3, "id"),
        with(4, "wave:65"),
        with(4, target),
        with(5, "name:$(id):2"),
        with(5, &format!("{target}\nid")),
        with(5, "tcp:10.0.0.0/8:80:2"),
        with(5, "tcp:10.0.0.1:80:31"),
        and(&["; id"]),
        and(&["wave:8"]),
        without.to_vec(),
        many,
        own(&["nc", "-e", "/bin/sh", address, "5432"]),
        own(&["nc", "-l", "-p", "4444"]),
        own(&["nc", "-zvnw2", address, "5432", "-e", "/bin/sh"]),
        own(&["nc", "-zvnw2e/bin/sh", address, "5432"]),
        own(&["nc", "-zvnw2", "example.org", "443"]),
        own(&["nc", "-zvnw2", address, "1-65535"]),
        own(&["/usr/bin/nc", "-zvnw2", address, "5432"]),
        own(&["nc", "-zvnw2", address]),
    ])
}

#[test]
fn the_probe_runs_in_the_configured_namespaces_and_in_no_other() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let account = Account::of(&scene.cluster, scene.verifier.namespace(), VERIFIER).await?;
        let (pod, address) = ends(scene).await?;
        scene.apply(&["near", "free", "tool"].map(elsewhere).join("---\n")).await?;
        in_effect(&account, &pod).await?;
        let real = probe(&address)?;
        let mut answers = Vec::new();
        for name in ["near", "free", "tool"] {
            let namespace = scene.text(&format!("{name}-xx-a"));
            let there = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": namespace}});
            eventually("the pod runs", seconds(30), async || {
                let found = objects::get(&scene.cluster.client, &there).await?.unwrap_or_default();
                Ok(e2e::fixture::is_ready(&found).then_some(()))
            })
            .await?;
            answers.push((there, namespace));
        }
        let ask = async |there: &Value| account.exec(there, &words(&real), &plain()).await;
        eventually("the policy for namespaces is in effect", seconds(20), async || {
            Ok(ask(&answers[0].0).await?.is_by_policy().then_some(()))
        })
        .await?;
        for (there, namespace) in &answers {
            let answer = ask(there).await?;
            assert!(answer.is_by_policy(), "{namespace}: {answer:?}");
            let Answer::Denied(reason) = answer else { unreachable!() };
            assert!(reason.contains("neither its product nor its probe namespaces"), "it says why: {reason}");
        }
        // A pattern, a label and a name of probeNamespaces open one each; an exclusion closes it again.
        let product = json!({"names": [scene.text("xx-*"), scene.text("near-xx-?")], "selector": "part=free"});
        let change = json!({"productNamespaces": product, "probeNamespaces": [answers[2].1]});
        scene.verifier.configure(&change).await?;
        for (there, namespace) in &answers {
            eventually(&format!("{namespace} is open"), seconds(20), async || {
                Ok(matches!(ask(there).await?, Answer::Admitted(_)).then_some(()))
            })
            .await?;
        }
        scene.verifier.configure(&json!({"productNamespaces": {"exclude": [scene.text("near-*")]}})).await?;
        eventually("an excluded namespace is closed", seconds(20), async || {
            Ok(ask(&answers[0].0).await?.is_by_policy().then_some(()))
        })
        .await?;
        assert!(matches!(ask(&answers[1].0).await?, Answer::Admitted(_)), "the others stay open");
        Ok(())
    })
}

/// A namespace that no pattern of the scene picks, with a pod in it.
fn elsewhere(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}-xx-a, labels: {{part: {name}}}}}}}\n---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: a, namespace: {name}-xx-a}}, spec: {{\
         terminationGracePeriodSeconds: 0, containers: [{{name: a, image: 'registry.local/netcat:test', \
         imagePullPolicy: Never, args: [/serve 8080/tcp]}}]}}}}\n"
    )
}

#[test]
fn a_probe_that_admission_refuses_is_said_and_never_green() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let account = Account::of(&scene.cluster, scene.verifier.namespace(), VERIFIER).await?;
        let (pod, address) = ends(scene).await?;
        scene.verifier.bound_to(&json!({})).await?;
        let real = probe(&address)?;
        eventually("no namespace is open", seconds(20), async || {
            Ok(account.exec(&pod, &words(&real), &plain()).await?.is_by_policy().then_some(()))
        })
        .await?;
        crate::edits::open_both_sides(scene, 6432)?;
        let run = scene.merge_and_run("Let the shop use pgbouncer").await?;
        let report = run.expect(3)?;
        let flow = crate::edits::web_to_db(scene, report, 6432);
        assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("not-probed", "inconclusive"));
        let message = scene.room.last().await?;
        let told = scene.room.thread(&message).await?.iter().map(|part| part.body.clone()).collect::<String>();
        let all = format!("{}\n{told}\n{}", message.body, run.streams.stderr);
        assert!(!message.first_line().starts_with('✅'), "{all}");
        assert!(all.contains("neither its product nor its probe namespaces"), "the reason is named: {all}");
        // The control: with the namespaces back, what was pending is seen.
        scene.verifier.bound_to(&json!({"productNamespaces": {"names": [scene.text("xx-*")]}})).await?;
        eventually("the namespaces are open", seconds(20), async || {
            Ok(matches!(account.exec(&pod, &words(&real), &plain()).await?, Answer::Admitted(_)).then_some(()))
        })
        .await?;
        scene.verifier.run_scheduled().await?.expect(0)?;
        Ok(())
    })
}

#[test]
fn the_verifiers_token_reads_and_changes_nothing_else() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let own = scene.verifier.namespace();
        let account = Account::of(&scene.cluster, own, VERIFIER).await?;
        let (pod, _) = ends(scene).await?;
        in_effect(&account, &pod).await?;
        let shop = scene.namespace(WEB.0);
        let pod_path = format!("/api/v1/namespaces/{shop}/pods/{}", text(&pod, "/metadata/name"));
        assert!(matches!(account.request("GET", &pod_path).await?, Answer::Admitted(_)), "it may read pods");
        for (method, path) in [
            ("GET", "/api/v1/secrets".to_owned()),
            ("GET", format!("/api/v1/namespaces/{own}/secrets/netpol-verify-matrix")),
            ("GET", format!("/api/v1/namespaces/{own}/configmaps")),
            ("GET", format!("/api/v1/namespaces/{own}/configmaps/another")),
            ("GET", format!("/api/v1/namespaces/{shop}/configmaps/kube-root-ca.crt")),
            ("GET", "/api/v1/namespaces/flux-system/configmaps/vars".to_owned()),
            ("GET", format!("{pod_path}/log")),
            ("DELETE", pod_path.clone()),
            ("DELETE", format!("/apis/networking.k8s.io/v1/namespaces/{shop}/networkpolicies/default-deny-all")),
            ("DELETE", format!("/apis/batch/v1/namespaces/{own}/jobs/any")),
            ("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/any".to_owned()),
            ("POST", format!("/api/v1/namespaces/{own}/serviceaccounts/{WATCHER}/token")),
            ("POST", format!("{pod_path}/attach?stdout=true")),
            ("POST", format!("{pod_path}/portforward?ports=80")),
        ] {
            let answer = account.request(method, &path).await?;
            assert!(answer.is_by_role(), "{method} {path}: {answer:?}");
        }
        let privileged = json!({"spec": {"ephemeralContainers": [{"name": "x", "image": "registry.local/netcat:test",
            "securityContext": {"privileged": true}}]}});
        let policy = format!("/apis/networking.k8s.io/v1/namespaces/{shop}/networkpolicies/default-deny-all");
        for (path, change) in [
            (format!("{pod_path}/ephemeralcontainers"), &privileged),
            (policy, &json!({"spec": {"podSelector": {"matchLabels": {"a": "b"}}}})),
            (format!("/api/v1/namespaces/{shop}"), &json!({"metadata": {"labels": {"a": "b"}}})),
            (format!("/apis/batch/v1/namespaces/{own}/cronjobs/{VERIFIER}"), &json!({"spec": {"suspend": true}})),
        ] {
            let answer = account.patch(&path, change).await?;
            assert!(answer.is_by_role(), "PATCH {path}: {answer:?}");
        }
        makes_only_its_own(scene, &account).await
    })
}

/// What the verifier may make: its state and its Lease.
async fn makes_only_its_own(scene: &Scene, account: &Account) -> Result<()> {
    let own = scene.verifier.namespace();
    let metadata = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
    let config_map = |name: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(own, name)});
    let lease =
        |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata(own, name)});
    for ours in [config_map("netpol-verify-state"), lease(VERIFIER)] {
        let answer = account.create(&ours).await?;
        assert!(matches!(answer, Answer::Admitted(_)), "{ours}: {answer:?}");
    }
    eventually("the policy for objects is in effect", seconds(20), async || {
        Ok(account.create(&config_map("another")).await?.is_by_policy().then_some(()))
    })
    .await?;
    for other in [config_map(VERIFIER), lease("another")] {
        let answer = account.create(&other).await?;
        assert!(answer.is_by_policy(), "{other}: {answer:?}");
    }
    let shop = scene.namespace(WEB.0);
    let containers = json!([{"name": "x", "image": "registry.local/netcat:test"}]);
    let template = json!({"spec": {"restartPolicy": "Never", "containers": containers}});
    for object in [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(&shop, "x"), "spec": {"containers": containers}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(own, "x"), "spec": {"containers": containers}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata(own, "x"), "spec": {"template": template}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(&shop, "netpol-verify-state")}),
    ] {
        let answer = account.create(&object).await?;
        assert!(answer.is_by_role(), "{object}: {answer:?}");
    }
    Ok(())
}

/// The Job that the watcher makes for a revision.
async fn template(scene: &Scene) -> Result<Value> {
    let cron_jobs = objects::list(&scene.cluster.client, &CRON_JOB, scene.verifier.namespace(), "").await?;
    let cron_job = cron_jobs.first().context("there is a CronJob")?;
    let mut spec = cron_job.pointer("/spec/jobTemplate/spec").cloned().context("it has a template")?;
    let env = spec.pointer_mut("/template/spec/containers/0/env").and_then(Value::as_array_mut).context("env")?;
    env.push(json!({"name": "NETPOL_VERIFY_REVISION", "value": "flux-system/a@main@sha1:1"}));
    env.push(json!({"name": "NETPOL_VERIFY_TRIGGER", "value": "merge"}));
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "controller": true,
        "name": text(cron_job, "/metadata/name"), "uid": text(cron_job, "/metadata/uid")});
    let labels = cron_job.pointer("/spec/jobTemplate/metadata/labels").cloned().unwrap_or_default();
    let metadata = json!({"namespace": scene.verifier.namespace(), "name": "netpol-verify-try", "labels": labels,
        "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}, "ownerReferences": [owner]});
    Ok(json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}))
}

#[test]
fn the_watchers_token_makes_jobs_of_the_template_and_nothing_else() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let own = scene.verifier.namespace();
        let account = Account::of(&scene.cluster, own, WATCHER).await?;
        let job = template(scene).await?;
        let mut other = job.clone();
        other["spec"]["backoffLimit"] = json!(100);
        eventually("the admission policies are in effect", seconds(20), async || {
            Ok(account.create(&other).await?.is_by_policy().then_some(()))
        })
        .await?;
        let answer = account.create(&job).await?;
        assert!(matches!(answer, Answer::Admitted(_)), "the template itself: {answer:?}");
        for (what, attack) in forged::other_jobs(&job)? {
            let answer = account.create(&attack).await?;
            assert!(answer.is_by_policy(), "{what}: {answer:?}");
        }
        let containers = json!([{"name": "x", "image": "registry.local/netcat:test"}]);
        let shop = scene.namespace(WEB.0);
        let mut elsewhere = job.clone();
        elsewhere["metadata"]["namespace"] = json!(shop);
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": own, "name": "x"},
            "spec": {"containers": containers}});
        for object in [elsewhere, pod] {
            let answer = account.create(&object).await?;
            assert!(answer.is_by_role(), "{object}: {answer:?}");
        }
        let (pod, address) = ends(scene).await?;
        let answer = account.exec(&pod, &words(&probe(&address)?), &plain()).await?;
        assert!(answer.is_by_role(), "the probe is the verifier's alone: {answer:?}");
        let secret = account.request("GET", &format!("/api/v1/namespaces/{own}/secrets/netpol-verify-matrix")).await?;
        assert!(secret.is_by_role(), "{secret:?}");
        Ok(())
    })
}
