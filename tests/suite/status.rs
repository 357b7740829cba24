//! What `status` prints, from a state in an API server in memory.

use std::collections::BTreeMap;

use netpol_verify::{model::*, state::ConfigMapStore, verify::seams::Store as _};
use serde_json::json;

use crate::{
    offline::support::{Ran, folder, run_in},
    support::{api::Api, sample, schemas},
};

const NAMESPACE: &str = "netpol-verify";
const AT: &str = "2026-11-20T09:12:31Z";

fn revision() -> Revision {
    sample::revision("main@sha1:4f2c9ab0123456789012345678901234567890ab")
}

fn id() -> KustomizationRef {
    KustomizationRef { namespace: "flux-system".to_owned(), name: "network-policies".to_owned() }
}

fn checked() -> Checked {
    let digest = Some("sha256:0f3a".to_owned());
    Checked {
        seq: 42,
        kustomizations: vec![CheckedKustomization { id: id(), revision: revision(), digest, policies: Vec::new() }],
        others: Vec::new(),
        namespaces: BTreeMap::new(),
        classes: Vec::new(),
        accounts: BTreeMap::new(),
        calico: None,
        verdict: Verdict::Finding,
        finished: AT.to_owned(),
    }
}

fn finding() -> OpenFinding {
    OpenFinding {
        since: Some(revision()),
        at: AT.to_owned(),
        mentioned: true,
        accepted: false,
        thread: None,
        summary: "ingress at shop/db lacks an entry".to_owned(),
        error: true,
        flow: None,
        rule: None,
        flips: Vec::new(),
    }
}

fn waiting() -> FlowRecord {
    FlowRecord {
        state: Unseen::Waiting,
        reason: "no running pod of shop/web".to_owned(),
        since: AT.to_owned(),
        revision: None,
        thread: None,
        flow: None,
        rule: None,
        parts: Vec::new(),
        missing: None,
    }
}

fn ended(seq: u64, job: Option<&str>, verdict: Verdict) -> RunRecord {
    let (started, finished) = (AT.to_owned(), AT.to_owned());
    RunRecord { seq, job: job.map(str::to_owned), started, finished, verdict, exit: verdict.exit_code() }
}

/// A state that has some of everything.
fn state() -> State {
    let failed = FailedApply { id: id(), attempted: Some(revision()), reason: "BuildFailed".to_owned(), event: None };
    let verified = Verified { revision: revision(), at: AT.to_owned(), unseen: 2 };
    State {
        id: "0123456789abcdef".to_owned(),
        seq: 42,
        checked: Some(checked()),
        failed: vec![failed],
        verified: BTreeMap::from([(id().to_string(), verified)]),
        findings: BTreeMap::from([("shop/web -> shop/db:5432/TCP".to_owned(), finding())]),
        flows: BTreeMap::from([("shop/web -> shop/cache:6379/TCP".to_owned(), waiting())]),
        runs: vec![ended(42, Some("netpol-verify-0f3a-42"), Verdict::Finding), ended(41, None, Verdict::Verified)],
        ..State::default()
    }
}

async fn asked(api: &Api, form: &'static str) -> Ran {
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": api.url()}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]});
    let files = folder(&[("kubeconfig", &kubeconfig.to_string())]);
    let args = ["status", "--kubeconfig", "kubeconfig", "-o", form];
    tokio::task::spawn_blocking(move || run_in(files.path(), &args, "")).await.unwrap()
}

fn golden(name: &str, ran: &Ran) {
    insta::with_settings!({snapshot_path => "../golden", prepend_module_to_snapshot => false, omit_expression => true}, {
        insta::assert_snapshot!(name, format!("exit {}\n{}", ran.code, ran.out));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_printed_for_people_and_for_programs() {
    let api = Api::start().await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "netpol-verify-watch", "namespace": NAMESPACE},
        "spec": {"holderIdentity": "netpol-verify-watch-x2x4q", "renewTime": "2026-11-20T09:12:31.000000Z"}});
    api.put("leases.coordination.k8s.io", lease);
    let store = ConfigMapStore::new(api.client(), NAMESPACE, ConfigMapStore::NAME);
    store.load().await.unwrap();
    store.save(&state()).await.unwrap();
    golden("status_text", &asked(&api, "text").await);
    let ran = asked(&api, "json").await;
    schemas::assert_documented("status", &ran.json());
    golden("status_json", &ran);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_run_there_is_nothing_to_tell_and_that_is_told() {
    let api = Api::start().await;
    let ran = asked(&api, "json").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    schemas::assert_documented("status", &ran.json());
    assert_eq!(ran.json()["checked"], json!(null));
    assert!(asked(&api, "text").await.out.starts_with("nothing was checked yet\n"));
}
