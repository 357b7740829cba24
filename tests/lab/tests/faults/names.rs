//! What names lead to, by the name server that the pods ask and by the verifier's own resolver.

use anyhow::{Result, ensure};
use lab::{
    faults::{ALWAYS, Exec, Fault},
    net::{Name, Names},
    world::Lab,
};
use serde_json::json;

use crate::shop::{SHOP, append, assert_cured, assert_green, assert_not_told, assert_told_once, close, open, play};

/// A host outside the cluster, its address and its port: the lab's node, where something listens.
const HOST: &str = "files.example.org";
const ADDRESS: &str = "192.168.77.1";
const PORT: u16 = 6443;

/// Merges an egress rule to a block of addresses outside, in which the host lies.
async fn open_outside(lab: &Lab, block: &str) -> Result<String> {
    lab.verifier.configure(&json!({"destinations": [{"name": HOST, "ports": [PORT]}]}))?;
    let peer = format!("{{cidr: {block}}}");
    append(lab, SHOP, &format!("  - to:\n    - ipBlock: {peer}\n    ports:\n    - {{protocol: TCP, port: {PORT}}}\n"))?;
    lab.merge("Let the shop use the files").await
}

/// What everybody's resolver says of the host: its addresses.
async fn resolves(lab: &Lab, addresses: &[String]) -> Result<()> {
    let lines: Vec<String> = addresses.iter().map(|address| format!("{address} {HOST}\n")).collect();
    lab.verifier.set_hosts(&lines.concat())?;
    let known = addresses.iter().map(|address| Ok(address.parse()?)).collect::<Result<Vec<_>>>()?;
    let name = if known.is_empty() { Name::Unknown } else { Name::Addresses(known) };
    Ok(lab.net.set_names(Names::from([(HOST.to_owned(), name)])).await?)
}

/// Whether the newest run saw the flow to the host.
fn assert_seen(lab: &Lab) -> Result<()> {
    let runs = lab.verifier.finished();
    let report = runs.last().map(|run| run.report()).transpose()?;
    let seen = report.into_iter().flat_map(|report| &report.flows).any(|flow| {
        flow.port == PORT && flow.destination() == HOST && flow.result == "verified" && flow.observed == "open"
    });
    ensure!(seen, "the flow to {HOST} was never seen: {report:?}");
    Ok(())
}

#[test]
fn a_name_that_cannot_be_resolved_keeps_its_flow_owed() -> Result<()> {
    row!(Said, "could not be resolved: look at the cluster's DNS");
    play(async |lab| {
        lab.verifier.set("RES_OPTIONS", "timeout:1 attempts:1");
        resolves(lab, &[]).await?;
        let commit = open_outside(lab, "192.168.77.1/32").await?;
        assert_not_told(&lab.run_for(&commit).await?)?;
        let again = lab.run_for(&commit).await?;
        ensure!(lab.matrix.top().len() == 1, "told once: {:#?}", lab.matrix.top());
        assert_not_told(&again)?;
        resolves(lab, &[ADDRESS.to_owned()]).await?;
        assert_cured(lab, &commit).await?;
        assert_seen(lab)
    })
}

#[test]
fn a_name_that_lies_verifies_nothing() -> Result<()> {
    row!(Said, "no configured destination lies in 192.168.77.1/32");
    play(async |lab| {
        resolves(lab, &["203.0.113.7".to_owned()]).await?;
        let commit = open_outside(lab, "192.168.77.1/32").await?;
        let run = lab.run_for(&commit).await?;
        assert_not_told(&run)?;
        ensure!(run.report()?.flows.iter().all(|flow| flow.result != "verified"), "{}", run.report()?);
        resolves(lab, &[ADDRESS.to_owned()]).await?;
        assert_cured(lab, &commit).await?;
        lab.run_by_hand().await?;
        assert_seen(lab)
    })
}

#[test]
fn a_name_that_leads_to_a_dead_address_verifies_nothing() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "6s"}}))?;
        resolves(lab, &["192.168.77.99".to_owned()]).await?;
        let commit = open_outside(lab, "192.168.77.0/24").await?;
        let run = lab.run_for(&commit).await?;
        ensure!(run.report()?.flows.iter().all(|flow| flow.result != "verified"), "{}", run.report()?);
        Ok(())
    })
}

#[test]
fn a_name_with_forty_addresses_is_not_verified_by_the_first() -> Result<()> {
    row!(Said, "");
    play(async |lab| {
        lab.verifier.configure(&json!({"probe": {"deadline": "20s"}}))?;
        let all: Vec<String> = (1..=40).map(|last| format!("192.168.77.{last}")).collect();
        resolves(lab, &all).await?;
        let commit = open_outside(lab, "192.168.77.0/24").await?;
        let run = lab.run_for(&commit).await?;
        let flows = run.report()?.flows.iter().filter(|flow| flow.port == PORT);
        let (seen, not): (Vec<_>, Vec<_>) = flows.partition(|flow| flow.result == "verified");
        ensure!(!not.is_empty() && seen.len() <= 1, "{} seen\n{}", seen.len(), run.report()?);
        Ok(())
    })
}

#[test]
fn an_expectation_whose_name_cannot_be_resolved_is_never_green() -> Result<()> {
    row!(Said, "could not be resolved");
    play(async |lab| {
        lab.verifier.set("RES_OPTIONS", "timeout:1 attempts:1");
        resolves(lab, &[]).await?;
        let to = format!("{HOST}:{PORT}");
        lab.verifier
            .configure(&json!({"expectations": [{"from": {"namespace": "xx-shop"}, "to": to, "is": "unreachable"}]}))?;
        let commit = open(lab).await?;
        assert_not_told(&lab.run_for(&commit).await?)?;
        assert_not_told(&lab.run_for(&commit).await?)?;
        resolves(lab, &[ADDRESS.to_owned()]).await?;
        assert_cured(lab, &commit).await
    })
}

#[test]
fn an_expectation_that_could_not_be_looked_at_is_never_green() -> Result<()> {
    row!(Said, "could not be looked at");
    play(async |lab| {
        let to = format!("{ADDRESS}:{PORT}");
        lab.verifier
            .configure(&json!({"expectations": [{"from": {"namespace": "xx-shop"}, "to": to, "is": "unreachable"}]}))?;
        let commit = open(lab).await?;
        lab.api.faults.add("GET", ADDRESS, ALWAYS, Fault::Exec(Exec::CutAfter(0)));
        assert_not_told(&lab.run_for(&commit).await?)?;
        assert_not_told(&lab.run_for(&commit).await?)?;
        assert_cured(lab, &commit).await
    })
}

/// The name server that pods ask, and that shows that a source lives, says this of every name.
async fn server(lab: &Lab, says: Name) -> Result<String> {
    lab.net.set_names(Names::from([("*".to_owned(), says)])).await?;
    close(lab).await
}

#[test]
fn a_name_server_that_fails_still_shows_that_the_source_lives() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = server(lab, Name::Fails).await?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_name_server_that_lies_closes_and_opens_nothing() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let commit = server(lab, Name::Addresses(vec!["203.0.113.7".parse()?])).await?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn a_name_server_with_forty_addresses_is_answer_enough() -> Result<()> {
    row!(Green, "");
    play(async |lab| {
        let all = (1..=40).map(|last| format!("203.0.113.{last}").parse()).collect::<Result<Vec<_>, _>>()?;
        let commit = server(lab, Name::Addresses(all)).await?;
        assert_green(&lab.run_for(&commit).await?)?;
        assert_told_once(lab, &commit, "✅")
    })
}
