//! Which flows share a line.

use std::collections::{BTreeMap, BTreeSet};

use super::Arrow;
use crate::{model::Endpoint, report::diff::Kind};

/// A line of the picture: each source reaches each destination but itself, and nothing else is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    /// How its flows differ.
    pub kind: Option<Kind>,
    /// Their ports.
    pub ports: String,
    /// The columns that they begin at.
    pub sources: BTreeSet<usize>,
    /// The columns that they end at.
    pub destinations: BTreeSet<usize>,
    /// The flows, as indices of the picture's.
    pub arrows: Vec<usize>,
}

impl Lane {
    /// Its first and last column.
    pub fn span(&self) -> (usize, usize) {
        let ends = || self.sources.iter().chain(&self.destinations).copied();
        (ends().min().unwrap_or_default(), ends().max().unwrap_or_default())
    }
}

/// The flows with the same ports that end at one column: from where, and which they are.
type Incoming = BTreeMap<usize, Vec<usize>>;

/// The lines, sorted by where they begin and end.
pub(super) fn lanes(arrows: &[Arrow], column_of: impl Fn(&Endpoint) -> usize) -> Vec<Lane> {
    let mut alike: BTreeMap<(Option<Kind>, &str), BTreeMap<usize, Incoming>> = BTreeMap::new();
    for (index, arrow) in arrows.iter().enumerate() {
        let ends = alike.entry((arrow.kind, &arrow.ports)).or_default();
        let incoming = ends.entry(column_of(&arrow.destination)).or_default();
        incoming.entry(column_of(&arrow.source)).or_default().push(index);
    }
    let mut lanes: Vec<Lane> = alike.into_iter().flat_map(|((kind, ports), ends)| shared(kind, ports, &ends)).collect();
    for lane in &mut lanes {
        lane.arrows.sort_unstable();
    }
    lanes.sort_by(|a, b| {
        let place = |lane: &Lane| (lane.sources.first().copied(), lane.destinations.first().copied());
        (place(a), a.kind, &a.ports).cmp(&(place(b), b.kind, &b.ports))
    });
    lanes
}

/// Destinations with the same sources share a line. What talks with each other is one line too: there the sources of an
/// end are those of the others without itself. One such end among others would only be harder to read.
fn shared(kind: Option<Kind>, ports: &str, ends: &BTreeMap<usize, Incoming>) -> Vec<Lane> {
    let sources = |incoming: &Incoming| -> BTreeSet<usize> { incoming.keys().copied().collect() };
    let with = |mut all: BTreeSet<usize>, end: usize| {
        all.insert(end);
        all
    };
    // How many ends would be on a line with these sources: among them, and beside them.
    let mut known: BTreeMap<BTreeSet<usize>, (usize, usize)> = BTreeMap::new();
    for (end, incoming) in ends {
        let all = sources(incoming);
        known.entry(with(all.clone(), *end)).or_default().0 += 1;
        known.entry(all).or_default().1 += 1;
    }
    let mut lanes: BTreeMap<BTreeSet<usize>, Lane> = BTreeMap::new();
    for (end, incoming) in ends {
        let (alone, together) = (sources(incoming), with(sources(incoming), *end));
        let count = |all: &BTreeSet<usize>| known.get(all).copied().unwrap_or_default();
        let ((among, beside), (others, own)) = (count(&together), count(&alone));
        let others = if others > 1 { others } else { 0 };
        let all = if among > 1 && among + beside > others + own { together } else { alone };
        let lane = lanes.entry(all.clone()).or_insert_with(|| Lane {
            kind,
            ports: ports.to_owned(),
            sources: all,
            destinations: BTreeSet::new(),
            arrows: Vec::new(),
        });
        lane.destinations.insert(*end);
        lane.arrows.extend(incoming.values().flatten());
    }
    lanes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::svg::tests::{arrow, named};

    fn told(flows: &[(u8, u8, &str)]) -> Vec<String> {
        let arrows: Vec<Arrow> = flows.iter().map(|(from, to, ports)| arrow(None, *from, *to, ports)).collect();
        let column_of = |endpoint: &Endpoint| (0..9).find(|n| named(*n) == *endpoint).unwrap().into();
        let lanes = lanes(&arrows, column_of);
        lanes.iter().map(|lane| format!("{:?}>{:?} {}", lane.sources, lane.destinations, lane.ports)).collect()
    }

    #[test]
    fn flows_share_a_line_only_where_it_tells_exactly_them() {
        assert_eq!(told(&[(0, 2, "a"), (1, 2, "a"), (0, 3, "a"), (1, 3, "a")]), ["{0, 1}>{2, 3} a"]);
        assert_eq!(told(&[(0, 2, "a"), (1, 2, "b")]), ["{0}>{2} a", "{1}>{2} b"]);
        // 1 does not reach 3.
        assert_eq!(told(&[(0, 2, "a"), (1, 2, "a"), (0, 3, "a")]), ["{0, 1}>{2} a", "{0}>{3} a"]);
    }

    #[test]
    fn what_talks_with_each_other_is_one_line() {
        assert_eq!(told(&[(0, 1, "a"), (1, 0, "a")]), ["{0, 1}>{0, 1} a"]);
        assert_eq!(told(&[(0, 1, "a"), (0, 2, "a"), (1, 2, "a")]), ["{0}>{1} a", "{0, 1}>{2} a"]);
        let all: Vec<_> = (0..4).flat_map(|a| (0..4).filter(move |b| *b != a).map(move |b| (a, b, "a"))).collect();
        assert_eq!(told(&all), ["{0, 1, 2, 3}>{0, 1, 2, 3} a"]);
        // Without the last flow, 3 is not reached by 2.
        let but_one: Vec<_> = all.iter().copied().filter(|flow| *flow != (2, 3, "a")).collect();
        assert_eq!(told(&but_one), ["{0, 1, 2, 3}>{0, 1, 2} a", "{0, 1}>{3} a"]);
    }

    #[test]
    fn each_flow_is_on_one_line_and_each_line_tells_no_other() {
        for seed in 0..200_u32 {
            let bit = |n: u32| (seed.wrapping_mul(2_654_435_761).wrapping_add(n.wrapping_mul(40_503)) >> 7) & 3;
            let pairs = (0..5_u8).flat_map(|a| (0..5_u8).filter(move |b| *b != a).map(move |b| (a, b)));
            let flows: Vec<(u8, u8)> = pairs.filter(|(a, b)| bit(u32::from(a * 8 + b)) != 0).collect();
            let arrows: Vec<Arrow> = flows.iter().map(|(a, b)| arrow(None, *a, *b, "x")).collect();
            let lanes = lanes(&arrows, |endpoint| (0..9).find(|n| named(*n) == *endpoint).unwrap().into());
            let pairs = |lane: &Lane| -> Vec<(usize, usize)> {
                let to =
                    |from: usize| lane.destinations.iter().filter(move |to| **to != from).map(move |to| (from, *to));
                lane.sources.iter().flat_map(|from| to(*from)).collect()
            };
            let mut told: Vec<(usize, usize)> = lanes.iter().flat_map(pairs).collect();
            told.sort_unstable();
            let mut asked: Vec<(usize, usize)> = flows.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
            asked.sort_unstable();
            assert_eq!(told, asked, "{seed}");
            let mut shown: Vec<usize> = lanes.iter().flat_map(|lane| lane.arrows.clone()).collect();
            shown.sort_unstable();
            assert_eq!(shown, (0..flows.len()).collect::<Vec<_>>(), "{seed}");
        }
    }
}
