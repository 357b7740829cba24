//! Flows to hosts whose names their sources could not resolve: whatever address the plan has, they do not go there.

use crate::{
    engine::{
        matrix::Matrix,
        touched::{Origin, Target, TouchedFlow},
    },
    model::Unseen,
    verify::names::{self, Book},
};

/// Those that cannot be looked at, each with why, and the rest.
pub(super) fn parted(
    live: &Matrix<'_>,
    book: &Book,
    flows: Vec<TouchedFlow>,
) -> (Vec<(TouchedFlow, Unseen, String)>, Vec<TouchedFlow>) {
    let (mut blind, mut rest) = (Vec::new(), Vec::new());
    for flow in flows {
        match why(live, book, &flow) {
            Some((unseen, reason)) => blind.push((flow, unseen, reason)),
            None => rest.push(flow),
        }
    }
    (blind, rest)
}

fn why(live: &Matrix<'_>, book: &Book, flow: &TouchedFlow) -> Option<(Unseen, String)> {
    let (Origin::Class(source), Target::Outside(host)) = (flow.source, &flow.target) else { return None };
    let name = host.name.as_deref()?;
    let text = book.why_not(&live.class(source)?.workload, name)?;
    Some(names::reason(live, source, name, text))
}
