//! A look at everything that Git declares, not only at what changed (design §2, `run --sweep`).
//!
//! Of each rule the flows that it opens, of each isolated workload and direction one that is denied ([`super::first`]).
//! A rule for many workloads has more flows than one run can look at: each sweep takes the next ones.

use super::{
    Collected, Touched, Views,
    openings::{Opening, Openings},
    pairs::{Look, Looks},
    rules,
};
use crate::model::{Action, Decision, Why};

/// Flows of one rule in one sweep.
const OF_A_RULE: usize = 32;

/// Adds the flows of this sweep, which is the `turn`th; flows without a way to see them are left out. Gives how many are
/// left for later ones.
pub(super) fn collect(views: &Views<'_>, turn: u64, flows: &mut Collected) -> usize {
    let (mut looks, mut left) = (Looks::new(views, Look::Apart), 0);
    for reference in rules::declared(views) {
        let Some(openings) = rules::openings(&mut looks, &reference) else { continue };
        if openings.rule.action == Action::Allow {
            left += opened(views, &openings, turn, flows);
        } else {
            let mut closed = Collected::default();
            openings.decided(views, Why::Sweep, &mut closed, &mut Touched::default());
            closed.into_flows().into_iter().filter(|flow| flow.unseen.is_none()).for_each(|flow| flows.add(flow));
        }
    }
    left
}

fn opened(views: &Views<'_>, openings: &Openings<'_>, turn: u64, flows: &mut Collected) -> usize {
    let can_be_seen = |o: &&Opening| {
        o.decision == Decision::Allowed && views.unseen(o.source, &o.target, o.port, o.decision).is_none()
    };
    let all: Vec<&Opening> = openings.iter().filter(can_be_seen).collect();
    for index in taken(all.len(), turn) {
        let Some(opening) = all.get(index) else { continue };
        let mut flow = rules::flow(views, opening, Why::Sweep);
        flow.rules.push(openings.reference.clone());
        flows.add(flow);
    }
    all.len().saturating_sub(OF_A_RULE)
}

/// Which of so many are looked at in this turn.
fn taken(count: usize, turn: u64) -> impl Iterator<Item = usize> {
    let first = usize::try_from(turn).unwrap_or(0).wrapping_mul(OF_A_RULE);
    (0..count.min(OF_A_RULE)).map(move |at| first.wrapping_add(at) % count.max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_few_sweeps_look_at_all_of_it() {
        for count in [0_usize, 1, 31, 32, 33, 100] {
            let turns = count.div_ceil(OF_A_RULE) as u64;
            let seen: BTreeSet<usize> = (5..5 + turns).flat_map(|turn| taken(count, turn)).collect();
            assert_eq!(seen, (0..count).collect(), "{count}");
            assert_eq!(taken(count, 7).count(), count.min(OF_A_RULE));
        }
    }
}
