//! What the API server does to lists.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{
    api::Kind,
    faults::{ALWAYS, Fault},
};
use serde_json::json;

use crate::shop::{assert_cured, assert_green, assert_not_told, assert_told_once, open, play, version};

const PODS: &str = "/api/v1/pods?";
const POLICIES: &str = "/apis/networking.k8s.io/v1/networkpolicies?";

/// The fault passes by itself: the run is green and tells once.
fn passes(path: &'static str, fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", path, 1, fault);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        assert_told_once(lab, &commit, "✅")
    })
}

/// The fault stays: nothing is told and nothing is written, and once it is over everything is made up for.
fn hides(path: &'static str, fault: Fault) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let before = version(lab)?;
        lab.api.faults.add("GET", path, ALWAYS, fault);
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(version(lab)? == before, "the state was written, although nothing was seen");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_list_limited_once_is_asked_again() -> Result<()> {
    row!(Green, "");
    passes(PODS, Fault::Limited(Duration::from_secs(1)))
}

#[test]
fn a_list_unavailable_once_is_asked_again() -> Result<()> {
    row!(Green, "");
    passes(PODS, Fault::Status(503))
}

#[test]
fn a_slow_list_is_waited_for() -> Result<()> {
    row!(Green, "");
    passes(POLICIES, Fault::Slow(Duration::from_secs(2)))
}

#[test]
fn an_expired_list_is_begun_anew() -> Result<()> {
    row!(Green, "");
    passes(PODS, Fault::Gone410)
}

#[test]
fn a_list_that_always_expires_is_not_told() -> Result<()> {
    row!(Untold, "expired");
    hides(PODS, Fault::Gone410)
}

#[test]
fn a_list_of_pods_that_fails_is_not_told() -> Result<()> {
    row!(Untold, "could not list pods");
    hides(PODS, Fault::Status(500))
}

#[test]
fn a_list_of_policies_that_fails_is_not_told() -> Result<()> {
    row!(Untold, "could not list networkpolicies");
    hides(POLICIES, Fault::Status(500))
}

#[test]
fn a_list_of_namespaces_that_fails_is_not_told() -> Result<()> {
    row!(Untold, "could not list namespaces");
    hides("/api/v1/namespaces?", Fault::Status(500))
}

#[test]
fn a_list_whose_connection_is_reset_is_not_told() -> Result<()> {
    row!(Untold, "could not list pods");
    hides(PODS, Fault::Reset)
}

#[test]
fn a_list_cut_in_its_middle_is_not_told() -> Result<()> {
    row!(Untold, "could not list pods");
    hides(PODS, Fault::CutAfter(300))
}

#[test]
fn a_list_that_is_no_json_is_not_told() -> Result<()> {
    row!(Untold, "could not list pods");
    hides(PODS, Fault::Body(b"<html>gateway</html>".to_vec()))
}

/// A right that is missing is named with the role that lacks it.
fn forbidden(resource: &'static str) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.rights(|rights| rights.forbid("list", resource));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.api.rights(lab::api::Rights::forbid_nothing);
        assert_cured(lab, &commit).await
    })
}

#[test]
fn pods_that_may_not_be_listed_are_named() -> Result<()> {
    row!(Untold, "add list on pods to ClusterRole netpol-verify");
    forbidden("pods")
}

#[test]
fn policies_that_may_not_be_listed_are_named() -> Result<()> {
    row!(Untold, "add list on networkpolicies.networking.k8s.io to ClusterRole netpol-verify");
    forbidden("networkpolicies.networking.k8s.io")
}

#[test]
fn replica_sets_that_may_not_be_listed_are_named() -> Result<()> {
    row!(Untold, "add list on replicasets.apps to ClusterRole netpol-verify");
    forbidden("replicasets.apps")
}

#[test]
fn a_revoked_account_is_not_told() -> Result<()> {
    row!(Untold, "could not get jobs.batch");
    hides("", Fault::Status(401))
}

#[test]
fn discovery_that_fails_is_never_green() -> Result<()> {
    row!(Said, "/apis could not be read");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", "/apis$", ALWAYS, Fault::Status(500));
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        lab.api.faults.clear();
        assert_cured(lab, &commit).await
    })
}

#[test]
fn policies_of_a_kind_that_may_not_be_read_are_never_green() -> Result<()> {
    row!(Said, "ciliumnetworkpolicies");
    play(async |lab| {
        lab.api.serve(Kind::new("cilium.io/v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies"));
        let commit = open(lab).await?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)
    })
}

#[test]
fn a_list_of_policies_silently_short_is_never_green() -> Result<()> {
    row!(Finding, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", POLICIES, ALWAYS, Fault::Shortened(1));
        let run = lab.run_for(&commit).await?;
        ensure!(
            run.code == Some(1),
            "a policy that Git has and the list has not is missing\n{}\n{}",
            run.stdout,
            run.log
        );
        ensure!(run.report()?.drift.iter().any(|drift| drift.class == "missing"), "{}", run.report()?);
        Ok(())
    })
}

#[test]
fn a_list_of_policies_short_for_a_moment_is_looked_at_again() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = open(lab).await?;
        lab.api.faults.add("GET", POLICIES, 1, Fault::Shortened(1));
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_list_of_pods_silently_short_is_never_green() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        let commit = open(lab).await?;
        // The last one is the database, which the merge is about.
        lab.api.faults.add("GET", PODS, ALWAYS, Fault::Shortened(1));
        assert_not_told(&lab.run_for(&commit).await?)?;
        lab.api.faults.clear();
        assert_cured(lab, &commit).await
    })
}

#[test]
fn pages_that_expire_between_them_are_read_again() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        for number in 0..1_200 {
            lab.put(&json!({"apiVersion": "v1", "kind": "Service", "spec": {},
                "metadata": {"namespace": "default", "name": format!("s{number}")}}))?;
        }
        let commit = open(lab).await?;
        lab.api.faults.later("GET", "continue=", 1, 1, Fault::Gone410);
        assert_green(&lab.run_for(&commit).await?)?;
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        let pages = lab.api.faults.requests("GET /api/v1/services?").len();
        ensure!(pages == 3 + 3, "three pages, of which the last expired, and three again, not {pages}");
        assert_told_once(lab, &commit, "✅")
    })
}
