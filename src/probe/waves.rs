//! Which targets of an exec run side by side, and which one after the other.
//!
//! A pod makes `wave` connections at a time, and the next ones when all of these have ended ([`super::script`]). A target
//! that stands twice is to be seen twice, the second time after the first has ended: both looks in one exec cost one
//! start of a process in the pod less. Such targets are expected to be silent until their time limit, so that it matters
//! that they wait together.

use std::{collections::BTreeMap, ops::Range};

use super::{Observation, Outcome, Target, Wave, script::MAX_TARGETS};

/// The order in which to try `targets`, as their positions, and where to cut it into execs.
///
/// Second looks come a whole wave or more behind the first, and silent targets share waves: `k` targets that stand twice
/// take `2 * k / wave` time limits, rounded up, or two where they all fit in one wave.
pub(super) fn order(targets: &[Target], wave: Wave) -> (Vec<usize>, Vec<Range<usize>>) {
    let (firsts, again, once) = sorted(targets);
    let free = wave.get().saturating_sub(firsts.len()).min(once.len());
    let free = if firsts.is_empty() { once.len() } else { free };
    let (beside, after) = once.split_at(free);
    let order: Vec<usize> = [firsts.as_slice(), beside, again.as_slice(), after].concat();
    let ordered: Vec<&Target> = order.iter().filter_map(|at| targets.get(*at)).collect();
    let wave = apart(&ordered, wave);
    // A cut within a wave would shift those behind it.
    let size = MAX_TARGETS - MAX_TARGETS % wave.get();
    let cuts = (0..order.len()).step_by(size).map(|from| from..order.len().min(from + size)).collect();
    (order, cuts)
}

/// The execs for `targets`, each with the positions of what it tries.
pub(super) fn execs(targets: &[Target], wave: Wave) -> Vec<(Vec<usize>, Vec<Target>)> {
    let (order, cuts) = order(targets, wave);
    let places = cuts.into_iter().filter_map(|cut| order.get(cut));
    let targets = |places: &[usize]| places.iter().filter_map(|place| targets.get(*place).cloned()).collect();
    places.map(|places| (places.to_vec(), targets(places))).collect()
}

/// What execs answer, put back into the order of their targets.
pub(super) struct Answers(Vec<Option<Observation>>);

impl Answers {
    /// Of so many targets.
    pub(super) fn new(count: usize) -> Self {
        Self(vec![None; count])
    }

    /// Takes those of one exec.
    pub(super) fn put(&mut self, places: &[usize], answers: Vec<Observation>) {
        for (place, answer) in places.iter().zip(answers) {
            if let Some(slot) = self.0.get_mut(*place) {
                *slot = Some(answer);
            }
        }
    }

    /// All of them; what no exec answered was cut.
    pub(super) fn all(self) -> Vec<Observation> {
        let none = || Observation::without_tool(Outcome::Cut, "no answer");
        self.0.into_iter().map(|answer| answer.unwrap_or_else(none)).collect()
    }
}

/// How many of these targets can run at a time, at most `wave`, so that each that stands twice ends in between.
pub(super) fn wave(targets: &[Target], wave: Wave) -> Wave {
    apart(&targets.iter().collect::<Vec<_>>(), wave)
}

fn apart(targets: &[&Target], wave: Wave) -> Wave {
    let mut last: BTreeMap<&Target, usize> = BTreeMap::new();
    let distances = targets.iter().enumerate().filter_map(|(at, target)| last.insert(target, at).map(|then| at - then));
    let least = distances.min().and_then(|least| u8::try_from(least).ok()).unwrap_or(u8::MAX);
    wave.min(Wave::new(least))
}

/// The positions of the targets that stand twice, of their second places, and of the others.
fn sorted(targets: &[Target]) -> (Vec<usize>, Vec<usize>, Vec<usize>) {
    let mut places: BTreeMap<&Target, Vec<usize>> = BTreeMap::new();
    for (at, target) in targets.iter().enumerate() {
        places.entry(target).or_default().push(at);
    }
    let mut all: Vec<Vec<usize>> = places.into_values().collect();
    all.sort_unstable();
    let (once, twice): (Vec<_>, Vec<_>) = all.into_iter().partition(|places| places.len() == 1);
    let firsts = twice.iter().filter_map(|places| places.first().copied()).collect();
    let again = twice.iter().flat_map(|places| places.iter().skip(1).copied()).collect();
    (firsts, again, once.concat())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn tcp(port: u16) -> Target {
        Target::tcp("10.0.3.7".parse().unwrap(), port, Duration::from_secs(2)).unwrap()
    }

    fn ports(targets: &[Target], wave: u8) -> Vec<Vec<u16>> {
        let (order, cuts) = order(targets, Wave::new(wave));
        let port = |at: &usize| targets[*at].to_string().split(':').nth(2).unwrap().parse().unwrap();
        cuts.into_iter().map(|cut| order[cut].iter().map(port).collect()).collect()
    }

    /// When each place of an exec runs: the number of its wave, over all execs.
    fn waves(targets: &[Target], limit: u8) -> Vec<usize> {
        let (order, cuts) = order(targets, Wave::new(limit));
        let mut when = vec![usize::MAX; targets.len()];
        let mut now = 0;
        for cut in cuts {
            assert!(cut.len() <= MAX_TARGETS);
            let exec: Vec<Target> = order[cut.clone()].iter().map(|at| targets[*at].clone()).collect();
            let size = wave(&exec, Wave::new(limit)).get();
            for (place, at) in order[cut].iter().enumerate() {
                when[*at] = now + place / size;
            }
            now += exec.len().div_ceil(size);
        }
        when
    }

    #[test]
    fn what_is_expected_to_be_silent_waits_together() {
        let targets: Vec<Target> = [1, 2, 3, 90, 91, 92, 93, 94, 95, 96, 1, 2, 3].map(tcp).to_vec();
        assert_eq!(ports(&targets, 8), [[1, 2, 3, 90, 91, 92, 93, 94, 1, 2, 3, 95, 96]]);
        let few: Vec<Target> = [1, 90, 1].map(tcp).to_vec();
        assert_eq!(wave(&few, Wave::default()).get(), 2, "one wave would try it twice at a time");
        assert_eq!(wave(&[tcp(1), tcp(1)], Wave::default()).get(), 1);
        assert_eq!(wave(&[tcp(1), tcp(2)], Wave::default()).get(), 8);
    }

    #[test]
    fn nothing_twice_stays_as_it_is() {
        let targets: Vec<Target> = (1..=70).map(tcp).collect();
        let (order, cuts) = order(&targets, Wave::default());
        assert_eq!(order, (0..70).collect::<Vec<_>>());
        assert_eq!(cuts, [0..64, 64..70]);
    }

    proptest! {
        /// Everything is tried, and what stands twice never in the same wave.
        #[test]
        fn second_looks_come_after_first_ones(ports in prop::collection::vec(1_u16..60, 0..150), limit in 1_u8..20) {
            let mut often = BTreeMap::new();
            let targets: Vec<Target> = ports.into_iter().filter(|port| {
                let times = often.entry(*port).or_insert(0);
                *times += 1;
                *times <= 2
            }).map(tcp).collect();
            let when = waves(&targets, limit);
            for (at, target) in targets.iter().enumerate() {
                prop_assert!(when[at] != usize::MAX);
                let earlier = targets[..at].iter().position(|other| other == target);
                prop_assert!(earlier.is_none_or(|then| when[then] < when[at]), "{targets:?} {when:?}");
            }
        }

        /// Waves in which somebody is silent, against the least that is possible.
        #[test]
        fn no_wave_more_than_needed_has_a_silent_target(silent in 1_u16..40, open in 0_u16..60, limit in 1_u8..16) {
            let silent_ports = (1..=silent).chain(1000..1000 + open).chain(1..=silent);
            let targets: Vec<Target> = silent_ports.map(tcp).collect();
            let when = waves(&targets, limit);
            let is_silent = |target: &Target| targets.iter().filter(|t| *t == target).count() == 2;
            let used: std::collections::BTreeSet<usize> =
                targets.iter().zip(&when).filter(|(t, _)| is_silent(t)).map(|(_, wave)| *wave).collect();
            let least = (2 * usize::from(silent)).div_ceil(limit.into()).max(2);
            // One that a cut between two execs leaves a partial wave to.
            prop_assert!(used.len() <= least + when.len() / 48, "{} of {least}", used.len());
        }
    }
}
