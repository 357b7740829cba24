//! Somebody changes the cluster behind Git's back.

use crate::world::{Scene, Setup, scenario};
use anyhow::Result;
use serde_json::json;

use crate::edits::{
    DB, SHOP, STORE, WEB, append, assert_opens, assert_place, close_sessions, egress, ingress, row, short,
    touch_readme, web_to_db,
};

/// An allow-all policy, as people make one to see whether the policies are to blame.
const ALLOW_ALL: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-all-temp, namespace: xx-store}
spec: {podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}], egress: [{}]}
";

/// The newest message is red and names these policies.
async fn names_all(scene: &Scene, names: &[&str]) -> Result<()> {
    let message = scene.room.last().await?;
    assert!(message.first_line().starts_with('❌'), "{}", message.body);
    for name in names {
        assert!(message.body.contains(name), "{name} is named: {}", message.body);
    }
    Ok(())
}

#[test]
fn d_live_changes_are_told_with_their_place_and_their_author() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let (shop, store) = (scene.namespace("shop"), scene.namespace("store"));
        scene.edit_policy("store", "allow-ingress", "6379", "6380").await?;
        scene.delete_policy("shop", "default-deny-all").await?;
        scene.create(ALLOW_ALL, None).await?;

        let run = scene.verifier.run_scheduled().await?;
        let report = run.expect(1)?;
        let changed = report.drift(&format!("{store}/allow-ingress")).expect("the edited policy");
        assert_eq!((changed.class.as_str(), changed.severity.as_str()), ("changed", "error"));
        assert_place(changed.declared.as_ref(), STORE, scene.git.line_of(STORE, "port: 6379")?);
        assert!(changed.by.as_deref().is_some_and(|by| by.contains("kubectl-edit")), "{:?}", changed.by);
        assert!(changed.diff.contains("6379") && changed.diff.contains("6380"), "{}", changed.diff);

        let missing = report.drift(&format!("{shop}/default-deny-all")).expect("the deleted policy");
        assert_eq!(missing.class, "missing");
        let place = missing.declared.clone().expect("Git has it");
        assert_eq!(place.file, "infra/k8s/shop/network-policy.yaml");
        assert!(place.line.is_some(), "{place:?}");

        let extra = report.drift(&format!("{store}/allow-all-temp")).expect("the extra policy");
        assert_eq!((extra.class.as_str(), extra.severity.as_str()), ("extra", "error"));
        assert!(extra.by.as_deref().is_some_and(|by| by.contains("kubectl-create")), "{:?}", extra.by);
        assert!(extra.flows > 0, "it opens flows: {extra:?}");

        names_all(scene, &["allow-ingress", "default-deny-all", "allow-all-temp"]).await?;

        // The control: put back as Git has it, the same look finds nothing.
        scene.delete(ALLOW_ALL).await?;
        scene.flux.reconcile().await?;
        scene.wait_until(true, WEB, DB, 6379).await?;
        let again = scene.verifier.run_scheduled().await?;
        assert!(again.expect(0)?.drift.is_empty(), "{}", again.report()?);
        Ok(())
    })
}

#[test]
fn d_policies_that_others_manage_are_not_blamed() -> Result<()> {
    const OTHERS: &str = "infra/k8s/others/policy.yaml";
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.git.write(OTHERS, &scene.text(&already_open("theirs")))?;
        let commit = scene.merge("What another team needs").await?;
        let theirs = scene.others("./infra/k8s/others", &commit).await?;
        scene.create(&policy_of_helm(), Some("helm")).await?;

        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(0)?;
        for name in ["theirs", "of-helm"] {
            let drift = report.drift(&scene.text(&format!("xx-store/{name}")));
            assert!(drift.is_none_or(|drift| drift.severity == "info"), "{name} is theirs: {report}");
        }
        theirs.delete_kustomization().await
    })
}

/// A policy that opens what is open already: what it changes is nobody's concern, who owns it is.
fn already_open(name: &str) -> String {
    let sessions = "ingress: [{from: [{namespaceSelector: {matchLabels: {team: xx-shop}}}], ports: [{port: 6379}]}]";
    let policy = ALLOW_ALL.replace("[Ingress, Egress]", "[Ingress]").replace("ingress: [{}], egress: [{}]", sessions);
    policy.replace("allow-all-temp", name)
}

/// A policy of a Helm release, told by what Helm writes on it.
fn policy_of_helm() -> String {
    let owner = "of-helm, labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: cache, \
                 meta.helm.sh/release-namespace: xx-store}";
    already_open(owner)
}

#[test]
fn o_a_relabelled_namespace_is_a_finding_even_though_packets_agree() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        let shop = scene.namespace("shop");
        scene.label_namespace("shop", "team=sales").await?;
        scene.wait_until(false, WEB, DB, 6379).await?;
        let run = scene.verifier.run_scheduled().await?;
        let report = run.expect(1)?;
        let [finding] = report.findings("relabelled")[..] else { panic!("one finding: {report}") };
        assert_eq!(finding.severity, "error");
        assert!(finding.message.contains(&shop), "{}", finding.message);
        let flow = web_to_db(scene, report, 6379);
        assert_eq!(row(flow), ["allowed", "denied", "denied", "timeout", "verified"]);
        let said = scene.room.top().await?.len();
        assert!(scene.room.last().await?.body.contains(&shop));

        let again = scene.verifier.run_scheduled().await?;
        again.expect(1)?;
        assert_eq!(scene.room.top().await?.len(), said, "it is told once, and stays open");
        Ok(())
    })
}

#[test]
fn p_an_older_red_is_one_line_of_the_next_merge_and_is_cleared_once() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        append(scene, SHOP, &egress(6432))?;
        let red = scene.merge("Let the shop use pgbouncer").await?;
        scene.verifier.run_for(&red).await?.expect(1)?;
        let red_message = scene.room.last().await?;

        close_sessions(scene)?;
        let unrelated = scene.merge("Sessions moved out of the database").await?;
        let run = scene.verifier.run_for(&unrelated).await?;
        let report = run.expect(1)?;
        assert_eq!(web_to_db(scene, report, 6379).result, "verified", "this merge is fine");
        let message = scene.room.last().await?;
        assert_opens(&message, "✅", &unrelated);
        assert!(message.last_line().contains(&short(&red)), "the old one is named last: {}", message.body);
        assert!(message.mentions.is_empty(), "and disturbs nobody again: {:?}", message.mentions);

        append(scene, STORE, &ingress("web", 6432))?;
        let cure = scene.merge("Open the other side").await?;
        scene.verifier.run_for(&cure).await?.expect(0)?;
        scene.verifier.run_scheduled().await?;
        let thread = scene.room.thread(&red_message).await?;
        let cleared = thread.iter().filter(|reply| reply.body.contains("clears")).count();
        assert_eq!(cleared, 1, "cleared once, where it was said: {thread:?}");
        Ok(())
    })
}

#[test]
fn p_an_accepted_red_is_silent_until_its_date() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        append(scene, SHOP, &egress(6432))?;
        let red = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&red).await?;
        run.expect(1)?;
        let flow = scene.text("xx-shop/web -> xx-store/db:6432/TCP");
        let accept = |until: &str| json!({"accept": [{"flow": flow, "reason": "next quarter", "until": until}]});
        scene.verifier.configure(&accept("2999-12-31")).await?;
        let said = scene.room.top().await?.len();
        let quiet = scene.verifier.run_scheduled().await?;
        assert_eq!(quiet.code, 0, "{}", quiet.report()?);
        touch_readme(scene, "accepted\n")?;
        let next = scene.merge("Write a README").await?;
        scene.verifier.run_for(&next).await?.expect(0)?;
        let message = scene.room.last().await?;
        assert!(!message.body.contains('❌') && message.mentions.is_empty(), "{}", message.body);
        assert!(!message.body.contains("open since"), "what is accepted is not open: {}", message.body);
        assert!(scene.room.top().await?.len() <= said + 2, "no message about what is accepted");

        scene.verifier.configure(&accept("2020-01-01")).await?;
        let run = scene.verifier.run_scheduled().await?;
        assert_eq!(run.code, 1, "its date is over: {}", run.report()?);
        let message = scene.room.last().await?;
        assert!(message.first_line().starts_with('❌'), "and that is said: {}", message.body);
        Ok(())
    })
}
