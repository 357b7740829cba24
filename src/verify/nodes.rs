//! A flow that was looked at on several nodes is one flow in the report: the worst that was seen of it, and where.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{FlowReport, FlowResult, Sweep};

/// What a sweep's flows amount to, before they are joined.
#[must_use]
pub fn swept(flows: &[FlowReport], probes: usize, pods: usize, left: usize) -> Sweep {
    Sweep { probes, nodes: nodes(&flows.iter().collect::<Vec<_>>()).len(), pods, left }
}

/// Joins the flows of one key. What stands alone stays as it is.
#[must_use]
pub fn joined(flows: Vec<FlowReport>) -> Vec<FlowReport> {
    let mut by_key: BTreeMap<String, Vec<FlowReport>> = BTreeMap::new();
    for flow in flows {
        by_key.entry(flow.key()).or_default().push(flow);
    }
    by_key.values().filter_map(|all| one(all)).collect()
}

/// The worst of them, the first of equals; with the nodes that differ from the others, and when the last one converged.
fn one(all: &[FlowReport]) -> Option<FlowReport> {
    let worst = all.iter().min_by_key(|flow| flow.result.rank())?;
    let mut joined = worst.clone();
    if all.len() > 1 {
        let (bad, fine): (Vec<&FlowReport>, Vec<&FlowReport>) = all
            .iter()
            .filter(|f| f.result != FlowResult::Inconclusive)
            .partition(|f| f.result == FlowResult::Enforcement);
        if !bad.is_empty() {
            joined.only_on = only_on(&bad, &fine);
        }
        let doubtful = if joined.only_on.is_empty() { nodes(&bad) } else { BTreeSet::new() };
        let as_declared = nodes(&fine).difference(&doubtful).map(|node| (*node).clone()).collect::<Vec<_>>();
        joined.as_declared_on = as_declared.into_iter().filter(|node| !joined.only_on.contains(node)).collect();
        joined.converged_ms =
            all.iter().filter_map(|flow| flow.converged_ms).max().filter(|_| joined.converged_ms.is_some());
        joined.open_ms = all.iter().filter_map(|flow| flow.open_ms).max();
    }
    Some(joined)
}

/// The nodes that every look which went wrong has, as its source's, as its target's or as either, and no look that was as
/// declared has so: a node whose data plane lets in what it should not may still be right about what leaves it.
fn only_on(bad: &[&FlowReport], fine: &[&FlowReport]) -> Vec<String> {
    type Ends = fn(&FlowReport) -> Vec<&String>;
    let ways: [Ends; 3] = [
        |flow| flow.node.iter().collect(),
        |flow| flow.target_node.iter().collect(),
        |flow| flow.node.iter().chain(&flow.target_node).collect(),
    ];
    let mut found = BTreeSet::new();
    for ends in ways {
        let fine: BTreeSet<&String> = fine.iter().flat_map(|flow| ends(flow)).collect();
        let mut all = bad.iter().map(|flow| ends(flow).into_iter().collect::<BTreeSet<&String>>());
        let first = all.next().unwrap_or_default();
        let common = all.fold(first, |common, nodes| common.intersection(&nodes).copied().collect());
        found.extend(common.difference(&fine).map(|node| (*node).clone()));
    }
    found.into_iter().collect()
}

/// The nodes of the ends.
fn nodes<'f>(flows: &[&'f FlowReport]) -> BTreeSet<&'f String> {
    flows.iter().flat_map(|flow| [flow.node.as_ref(), flow.target_node.as_ref()]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Decision, Endpoint, Outcome, Protocol, Why, Workload};

    fn flow(source: &str, target: &str, result: FlowResult) -> FlowReport {
        let end = |name: &str| {
            Endpoint::Workload(Workload { kind: "Deployment".into(), namespace: "shop".into(), name: name.into() })
        };
        let denied = (Decision::Denied, Decision::Denied);
        FlowReport {
            node: Some(source.to_owned()),
            target_node: Some(target.to_owned()),
            observed: Outcome::Timeout,
            result,
            ..FlowReport::new((end("web"), end("db")), (Protocol::Tcp, 5432), Why::Sweep, denied)
        }
    }

    use FlowResult::{Enforcement, Inconclusive, Verified};

    fn told(looks: &[(&str, &str, FlowResult)]) -> (FlowResult, Vec<String>, Vec<String>) {
        let mut joined = joined(looks.iter().map(|(from, to, result)| flow(from, to, *result)).collect());
        assert_eq!(joined.len(), 1);
        let flow = joined.remove(0);
        (flow.result, flow.only_on, flow.as_declared_on)
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_node_that_all_wrong_looks_share_and_no_right_one_has_stands_out() {
        let of_source = [("a", "t", Verified), ("b", "t", Enforcement), ("c", "t", Verified)];
        assert_eq!(told(&of_source), (Enforcement, names(&["b"]), names(&["a", "c", "t"])));
        let of_target = [("a", "s", Enforcement), ("b", "s", Enforcement), ("a", "t", Verified), ("b", "t", Verified)];
        assert_eq!(told(&of_target), (Enforcement, names(&["s"]), names(&["a", "b", "t"])));
    }

    #[test]
    fn a_node_that_is_wrong_about_what_comes_in_may_be_right_about_what_goes_out() {
        let both = [("s", "s", Enforcement), ("s", "t", Verified)];
        assert_eq!(told(&both), (Enforcement, names(&["s"]), names(&["t"])));
    }

    #[test]
    fn no_node_stands_out_where_the_looks_do_not_say_which() {
        let both = [("a", "t", Enforcement), ("b", "u", Enforcement)];
        assert_eq!(told(&both), (Enforcement, Vec::new(), Vec::new()));
        let also_right = [("a", "t", Enforcement), ("a", "t", Verified)];
        assert_eq!(told(&also_right), (Enforcement, Vec::new(), Vec::new()));
    }

    #[test]
    fn what_could_not_be_told_anywhere_is_not_as_declared() {
        assert_eq!(told(&[("a", "t", Verified), ("b", "t", Inconclusive)]).0, Inconclusive);
        assert_eq!(told(&[("b", "t", Inconclusive), ("a", "t", Enforcement)]).0, Enforcement);
        assert_eq!(told(&[("a", "t", Verified)]), (Verified, Vec::new(), Vec::new()), "alone it stays as it is");
    }
}
