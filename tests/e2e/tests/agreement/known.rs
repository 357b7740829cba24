//! What an enforcer is known to do otherwise than its API says.

use oracle::{
    Answer, Direction, End, isolated,
    tiers::{By, Question, Side, Verdict, World},
};

/// The tiers of the network policy API that are asked last.
const BASELINE: [&str; 2] = ["kube-baseline", "baselineadminnetworkpolicy"];

/// Whether packets pass, as kube-network-policies 1.1.1 takes it.
///
/// A pod that some NetworkPolicy selects for the other direction only is answered "accept" instead of "next": Baseline
/// is not asked (K1). By the API the pod is not isolated in that direction, and Baseline decides.
pub fn passes(world: &World, question: &Question<'_>, verdict: &Verdict) -> bool {
    let side =
        |side: &Side, end: End<'_>, direction: Direction| side.allowed || is_skipped(world, side, end, direction);
    match verdict.answer {
        Answer::Denied => {
            side(&verdict.egress, question.src, Direction::Egress)
                && side(&verdict.ingress, question.dst, Direction::Ingress)
        }
        Answer::Allowed | Answer::Undefined => true,
    }
}

/// Whether Baseline decides on this side, and is not asked since a NetworkPolicy selects the pod for the other one.
fn is_skipped(world: &World, side: &Side, end: End<'_>, direction: Direction) -> bool {
    let (By::Rule(name, _), End::Pod(pod, _)) = (&side.by, end) else { return false };
    let other = match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
    };
    BASELINE.contains(&name.tier.as_str()) && isolated(&world.plain, pod, other)
}
