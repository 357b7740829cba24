//! Reports for tests of what people read.

use std::collections::BTreeMap;

use netpol_verify::model::*;

pub const NOW: &str = "main@sha1:4f2c9ab0123456789012345678901234567890ab";
pub const BEFORE: &str = "main@sha1:77c0de1f23456789012345678901234567890abc";

pub fn revision(text: &str) -> Revision {
    Revision(text.to_owned())
}

pub fn kustomization(name: &str) -> KustomizationReport {
    KustomizationReport {
        namespace: "flux-system".to_owned(),
        name: name.to_owned(),
        attempted: Some(revision(NOW)),
        applied: Some(revision(NOW)),
        digest: Some("sha256:0f3a".to_owned()),
        rendering: RenderingState::Proven,
        reason: None,
    }
}

/// A merge without flows, verified.
pub fn report() -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        cluster: "prod".to_owned(),
        seq: 42,
        trigger: Trigger::Merge,
        verdict: Verdict::Verified,
        kustomizations: vec![kustomization("network-policies")],
        compared_with: None,
        drift: Vec::new(),
        flows: Vec::new(),
        findings: Vec::new(),
        not_probed: Vec::new(),
        denial: BTreeMap::from([("worker-1".to_owned(), DenialLook::Drop), ("worker-3".to_owned(), DenialLook::Drop)]),
        converged_ms: None,
        sweep: None,
        ephemeral_containers: None,
        first_run: false,
        same_digest: false,
        standing: Standing::default(),
        cleared: Vec::new(),
        started: "2026-11-20T09:12:00Z".to_owned(),
        finished: "2026-11-20T09:12:31Z".to_owned(),
    }
}

pub fn workload(name: &str) -> Endpoint {
    let (namespace, name) = name.split_once('/').unwrap();
    Endpoint::Workload(Workload {
        kind: "Deployment".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// A flow that was seen as declared.
pub fn flow(source: &str, destination: &str, port: u16, declared: Decision) -> FlowReport {
    let open = declared == Decision::Allowed;
    FlowReport {
        source: workload(source),
        source_pod: Some(PodRef {
            namespace: source.split_once('/').unwrap().0.to_owned(),
            name: format!("{}-7c9f6d-x2x4q", source.split_once('/').unwrap().1),
        }),
        destination: workload(destination),
        target: Some("10.0.3.7".to_owned()),
        node: Some("worker-1".to_owned()),
        target_node: None,
        only_on: Vec::new(),
        as_declared_on: Vec::new(),
        protocol: Protocol::Tcp,
        port,
        ipv6: false,
        via: Some("exec".to_owned()),
        why: Why::Changed,
        before: Some(if open { Decision::Denied } else { Decision::Allowed }),
        declared,
        live: declared,
        observed: if open { Outcome::Open } else { Outcome::Timeout },
        controls: (!open).then(|| Controls {
            target: Some("open from redis/redis itself".to_owned()),
            source: Some("reached kube-dns".to_owned()),
            strength: Strength::Full,
        }),
        result: FlowResult::Verified,
        state: None,
        note: None,
        converged_ms: Some(1290),
        open_ms: None,
        covers: 0,
        services: Vec::new(),
        rules: Vec::new(),
        evidence: Vec::new(),
        because: Vec::new(),
        entries: Vec::new(),
        since: None,
        new: false,
        accepted_until: None,
    }
}

/// Three flows of one merge, all well.
pub fn three_flows() -> Vec<FlowReport> {
    vec![
        flow("pulse-account/api", "pulse-events/web", 3001, Decision::Allowed),
        flow("ai-bos-agent/agent", "redis/redis", 6379, Decision::Denied),
        flow("pulse-account/api", "pulse-banking/web", 3200, Decision::Allowed),
    ]
}

/// Makes a flow's trouble this merge's.
pub fn wrong(mut flow: FlowReport, result: FlowResult, observed: Outcome) -> FlowReport {
    flow.result = result;
    flow.observed = observed;
    flow.new = true;
    flow.since = Some(revision(NOW));
    flow.converged_ms = None;
    flow
}

pub const ENTRY: &str = "    - from:\n      - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pulse-account}}\n        podSelector: {matchLabels: {app: api}}\n      ports:\n      - {protocol: TCP, port: 3001}\n";

pub fn missing_entry() -> FlowReport {
    let mut missing = wrong(three_flows().remove(0), FlowResult::MissingEntry, Outcome::Timeout);
    missing.why = Why::OneSided;
    missing.declared = Decision::Denied;
    missing.live = Decision::Denied;
    missing.before = Some(Decision::Denied);
    missing.because = vec![
        "egress is open (infra/k8s/pulse-account/network-policy.yaml:41)".to_owned(),
        "ingress at pulse-events is not".to_owned(),
    ];
    missing.entries = vec![Entry {
        side: Direction::Ingress,
        policy: Some("allow-ingress".to_owned()),
        file: Some("infra/k8s/pulse-events/network-policy.yaml".to_owned()),
        line: Some(17),
        entry: ENTRY.to_owned(),
    }];
    missing
}

pub fn drift(class: DriftClass, policy: PolicyRef, summary: &str) -> Drift {
    Drift {
        class,
        policy,
        group: String::new(),
        declared: None,
        by: None,
        flows: 0,
        summary: summary.to_owned(),
        diff: String::new(),
        severity: Severity::Error,
        since: Some(revision(NOW)),
        new: true,
        accepted_until: None,
    }
}

pub fn finding(rule: FindingRule, severity: Severity, message: &str) -> Finding {
    Finding {
        key: format!("{}/{message}", rule.word()),
        rule,
        severity,
        message: message.to_owned(),
        namespace: None,
        origin: None,
        since: Some(revision(NOW)),
        fix: None,
        new: true,
        accepted_until: None,
        about: None,
    }
}
