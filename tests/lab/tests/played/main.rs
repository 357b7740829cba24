//! The scenarios of `tests/e2e`, from the same files, in the lab: what is true here is to be true on the real cluster.
//!
//! | on the real cluster | here | because |
//! | --- | --- | --- |
//! | three data planes | a dropped and a rejected denial | the lab has one reading of the policies, `tests/oracle` |
//! | Flux' controllers | the status that they write, at once | nobody waits for an interval; the renderer is the same |
//! | the API server's validation | that of NetworkPolicy, one error at a time | nothing else is refused in a scenario |
//! | Calico 3.28, without tiers of its own | the kinds of 3.29, with the tier `default` | tiers are listed one by one |
//! | pods take seconds to come and go | they are there at once; a person's Job starts after a second | there is no kubelet |
//! | the report's `cluster` is `test`, times to settle and to wait are 10 s to 30 s | `lab`, 2 s to 5 s | a test is to be short |
//!
//! What is not played at all is in [`NOT_PLAYED`], which a test holds against the folder.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

#[path = "../../../e2e/tests/scenarios/acceptance.rs"]
mod acceptance;
#[path = "../../../e2e/tests/scenarios/apply.rs"]
mod apply;
#[path = "../../../e2e/tests/scenarios/calico.rs"]
mod calico;
#[path = "../../../e2e/tests/scenarios/delivery.rs"]
mod delivery;
#[path = "../../../e2e/tests/scenarios/drift.rs"]
mod drift;
#[path = "../../../e2e/tests/scenarios/edits.rs"]
mod edits;
#[path = "../../../e2e/tests/scenarios/foreign.rs"]
mod foreign;
#[path = "../../../e2e/tests/scenarios/intended.rs"]
mod intended;
#[path = "../../../e2e/tests/scenarios/kills.rs"]
mod kills;
#[path = "../../../e2e/tests/scenarios/merges.rs"]
mod merges;
#[path = "../../../e2e/tests/scenarios/pods.rs"]
mod pods;
#[path = "../../../e2e/tests/scenarios/rules.rs"]
mod rules;

/// Where the scenarios play.
mod world {
    pub use e2e::{Message, Report, eventually, flux, objects::text, poll::seconds, report, rules};
    pub use lab::scene::{DataPlane, RUN, Scene, Setup, scenario};
}

/// Files of scenarios that the lab does not play, each with its reason.
const NOT_PLAYED: &[(&str, &str)] = &[
    ("artifact", "Flux's own pods and policies; that what cannot be fetched is said is held by `faults`"),
    (
        "rendering",
        "targetNamespace, commonMetadata and postBuild are what the real kustomize-controller is the judge of",
    ),
    ("flux_only", "Jobs that Flux makes anew, which the real kustomize-controller and kubelet are the judges of"),
    ("breaks", "a kubelet that stops and crashes under an exec"),
    ("evidence", "the log of the real enforcer, and the right to read it"),
    ("names", "CoreDNS, whose zone changes between two runs; `faults` has names that cannot be resolved"),
    ("nodes", "two nodes, each with a data plane of its own"),
    ("page", "policies of Calico's are a part of it; it is long, and what it tells is played by the others"),
    ("ephemeral", "a kubelet that runs what is added to a pod, and the real API server's admission"),
    ("forged", "what `rights` tries"),
    ("install", "the shipped manifests, which a real API server and its admission are the judges of"),
    (
        "offline",
        "what `kubectl` dumps and Flux labels is the real API server's; `live_sets` holds the same against one in memory",
    ),
    ("needs", "the real API server's audit log"),
    ("rights", "the real API server's RBAC and admission policies"),
    ("scene", "says that the real cluster's parts work; the lab's are held by its own tests `net` and `faults`"),
    ("shards", "an Indexed Job, whose pods the Job controller replaces"),
    ("starts", "the CronJob's controller, and a way to pods that only the API server has"),
    ("storm", "as `watch`"),
    ("watch", "needs the shipped Deployment, a kubelet that runs it, and the CronJob's controller"),
];

#[test]
fn every_scenario_is_played_or_named_with_its_reason() -> Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/tests/scenarios");
    let files = std::fs::read_dir(folder).with_context(|| folder.to_owned())?;
    let mut there = BTreeSet::new();
    for file in files {
        there.insert(file?.file_name().to_string_lossy().trim_end_matches(".rs").to_owned());
    }
    there.remove("main");
    let own = include_str!("main.rs").lines();
    let included = own.filter_map(|line| line.strip_prefix("#[path = \"../../../e2e/tests/scenarios/"));
    let mut named: BTreeSet<String> = included.map(|line| line.trim_end_matches(".rs\"]").to_owned()).collect();
    for (file, reason) in NOT_PLAYED {
        eprintln!("{file}: not played in the lab: {reason}");
        ensure!(named.insert((*file).to_owned()), "`{file}` is played, and said not to be");
    }
    ensure!(there == named, "the folder has {there:?}, this file names {named:?}");
    Ok(())
}
