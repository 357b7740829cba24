//! Real packets: rounds of probes with their controls, until everything has settled or the settle time is over.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use futures::{
    StreamExt,
    future::{Either, select},
    stream::FuturesUnordered,
};

use serde::{Deserialize, Serialize};

use super::{
    ground::Ground,
    seams::{Clock, ProbeSource, ProbeTarget, Prober, Seen, Wire},
    track::{Purpose, Track},
};
use crate::{
    engine::plan::{Address, Planned},
    model::{DenialLook, Outcome, PodRef, Protocol},
};

/// Pauses between rounds: 0.5 s, then up to 2 s (the conformance suites poll so).
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often the log says how far probing is.
const PROGRESS: Duration = Duration::from_secs(10);

/// How long probing may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// Until a flow must be as declared.
    pub settle: Duration,
    /// For all probing of the run.
    pub deadline: Duration,
}

/// What probing showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probing {
    /// One for each planned probe, in order.
    pub tracks: Vec<Track>,
    /// How a denial looks, by node.
    pub denial: BTreeMap<String, DenialLook>,
}

/// Probes a plan. When the deadline is over, what was seen until then stands, and the rest was not probed.
pub async fn probe<O: Wire>(outside: &O, ground: &Ground, plan: Vec<Planned>, patience: Patience) -> Probing {
    let pods = ground.by_name();
    let start = outside.clock().elapsed();
    let mut looks = ground.looks();
    let mut tracks: Vec<Track> = plan.into_iter().map(|planned| Track::new(planned, &pods)).collect();
    let mut progress = Progress { told: Duration::ZERO };
    let mut pause = FIRST_PAUSE;
    while tracks.iter().any(|t| !t.is_settled()) {
        let left = patience.deadline.saturating_sub(outside.clock().elapsed().saturating_sub(start));
        let round = Round { outside, pods: &pods, start };
        within(outside, left, round.ask(&mut tracks, &mut progress)).await;
        looks.learn(tracks.iter().filter_map(Track::shown_look));
        let waited = outside.clock().elapsed().saturating_sub(start);
        let over = waited >= patience.deadline;
        for track in tracks.iter_mut().filter(|t| !t.is_settled()) {
            // A round of many probes may alone take longer than the settle time.
            let patient = waited >= patience.settle && track.was_tried_twice();
            track.settle(looks.of(track.nodes()), waited, over || patient);
        }
        if over || tracks.iter().all(Track::is_settled) {
            break;
        }
        outside.clock().sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    for track in &mut tracks {
        track.look = looks.of(track.nodes());
    }
    Probing { tracks, denial: looks.nodes }
}

/// Lets a round run until the time is over.
async fn within<O: Wire>(outside: &O, left: Duration, round: impl Future<Output = ()>) {
    match select(std::pin::pin!(round), std::pin::pin!(outside.clock().sleep(left))).await {
        Either::Left(_) => {}
        Either::Right(_) => tracing::warn!("the time for probing is over: what was not seen is pending"),
    }
}

/// What is asked at one address from one pod, and for whom.
#[derive(Default)]
struct Asked {
    twice: bool,
    by: Vec<(usize, Purpose)>,
}

/// One exec a source pod with everything that is asked of it; the answers go back to the tracks that asked.
struct Round<'a, O> {
    outside: &'a O,
    pods: &'a BTreeMap<&'a PodRef, &'a ProbeSource>,
    /// When probing began.
    start: Duration,
}

/// A try for a track: whose, what for, what it showed, and between which times it began.
type Answer = (usize, Purpose, Seen, (Duration, Duration));

impl<O: Wire> Round<'_, O> {
    /// Each answer is taken when it comes: a deadline that ends the round loses none of them.
    async fn ask(&self, tracks: &mut [Track], progress: &mut Progress) {
        let asked = questions(tracks);
        let total = asked.len();
        let mut execs: FuturesUnordered<_> =
            asked.into_iter().map(|(pod, questions)| self.exec(pod, questions)).collect();
        let mut done = 0;
        while let Some(answers) = execs.next().await {
            for (index, purpose, seen, when) in answers {
                if let Some(track) = tracks.get_mut(index) {
                    track.note(&purpose, &seen, when);
                }
            }
            done += 1;
            progress.tell(self.now(), tracks, (done, total));
        }
    }

    fn now(&self) -> Duration {
        self.outside.clock().elapsed().saturating_sub(self.start)
    }

    async fn exec(&self, pod: PodRef, questions: Vec<(Address, Asked)>) -> Vec<Answer> {
        let once = questions.iter().map(|(address, _)| target(*address));
        let again = questions.iter().filter(|(_, asked)| asked.twice).map(|(address, _)| target(*address));
        let targets: Vec<ProbeTarget> = once.chain(again).collect();
        let from = self.now();
        let seen = match self.pods.get(&pod) {
            Some(source) => self.outside.prober().probe(source, &targets).await,
            None => Vec::new(),
        };
        let until = self.now();
        let (first, second) = seen.split_at(seen.len().min(questions.len()));
        let (mut first, mut second) = (first.iter(), second.iter());
        let mut answers = Vec::new();
        for (_, asked) in questions {
            // A prober that answers less than it was asked has broken off.
            let mut looks = vec![first.next().cloned().unwrap_or_else(cut)];
            if asked.twice {
                looks.push(second.next().cloned().unwrap_or_else(cut));
            }
            for (index, purpose) in asked.by {
                let timed = looks.iter().cloned().zip(times(&looks, (from, until)));
                answers.extend(timed.map(|(seen, when)| (index, purpose.clone(), seen, when)));
            }
        }
        answers
    }
}

/// When each of the tries of one target began, the earliest and the latest, within an exec between these times. A later
/// one begins when the one before has ended: what a pod says of how long they took counts only as far as they fit in.
fn times(looks: &[Seen], (from, until): (Duration, Duration)) -> Vec<(Duration, Duration)> {
    let mut latest = until;
    let mut begun: Vec<(Duration, Duration)> = Vec::new();
    for look in looks.iter().rev() {
        let began = latest.saturating_sub(look.elapsed).max(from);
        // The one after it began when this one had ended, at the earliest.
        if let Some(next) = begun.last_mut() {
            next.0 = began + look.elapsed.min(latest.saturating_sub(began));
        }
        begun.push((from, began));
        latest = began;
    }
    begun.reverse();
    begun
}

/// What is asked from each pod; those that will wait longest go first, so that no one of them is left at the end.
fn questions(tracks: &[Track]) -> Vec<(PodRef, Vec<(Address, Asked)>)> {
    let mut asked: BTreeMap<PodRef, BTreeMap<Address, Asked>> = BTreeMap::new();
    for (index, track) in tracks.iter().enumerate().filter(|(_, t)| !t.is_settled()) {
        for question in track.questions() {
            let of_pod = asked.entry(question.from).or_default();
            let asked = of_pod.entry(question.address).or_default();
            asked.twice |= question.twice;
            asked.by.push((index, question.purpose));
        }
    }
    let mut asked: Vec<(PodRef, Vec<(Address, Asked)>)> =
        asked.into_iter().map(|(pod, questions)| (pod, questions.into_iter().collect())).collect();
    asked.sort_by_key(|(_, questions)| Reverse(questions.iter().filter(|(_, asked)| asked.twice).count()));
    asked
}

/// What the log says while many flows are probed.
struct Progress {
    /// When it spoke last.
    told: Duration,
}

impl Progress {
    fn tell(&mut self, now: Duration, tracks: &[Track], (done, total): (usize, usize)) {
        if now.saturating_sub(self.told) < PROGRESS {
            return;
        }
        self.told = now;
        let seen = tracks.iter().filter(|t| !t.seen.is_empty()).count();
        let settled = tracks.iter().filter(|t| t.is_settled()).count();
        tracing::info!(
            "probing: {} flows, {seen} tried, {settled} settled; pod {done} of {total} in this round, {} s",
            tracks.len(),
            now.as_secs()
        );
    }
}

/// Over UDP only an answer tells anything, and DNS is what is known to give one.
const fn target(Address { ip, port, protocol }: Address) -> ProbeTarget {
    match protocol {
        Protocol::Udp => ProbeTarget::Dns { server: ip, port },
        Protocol::Tcp | Protocol::Sctp => ProbeTarget::Connect { protocol, address: ip, port },
    }
}

fn cut() -> Seen {
    Seen {
        outcome: Outcome::Cut,
        elapsed: Duration::ZERO,
        text: "no answer".to_owned(),
        addresses: Vec::new(),
        ephemeral: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(from: f64, until: f64) -> (Duration, Duration) {
        (Duration::from_secs_f64(from), Duration::from_secs_f64(until))
    }

    fn look(elapsed: f64) -> Seen {
        let elapsed = Duration::from_secs_f64(elapsed);
        Seen { outcome: Outcome::Timeout, elapsed, text: String::new(), addresses: Vec::new(), ephemeral: false }
    }

    /// Two looks once counted as a second apart by when their rounds began, although the first had waited for its turn
    /// until just before the second.
    #[test]
    fn a_look_that_waited_for_its_turn_began_late() {
        // The exec was asked for at 0 s and answered at 20 s: the try itself took 2 s.
        assert_eq!(times(&[look(2.0)], seconds(0.0, 20.0)), [seconds(0.0, 18.0)]);
    }

    #[test]
    fn a_second_look_in_the_same_exec_is_as_far_behind_as_the_first_took() {
        let both = times(&[look(2.0), look(2.0)], seconds(10.0, 15.0));
        assert_eq!(both, [seconds(10.0, 11.0), seconds(13.0, 13.0)]);
        let refused = times(&[look(0.0), look(0.0)], seconds(10.0, 15.0));
        assert_eq!(refused, [seconds(10.0, 15.0), seconds(15.0, 15.0)], "not apart at all");
    }

    #[test]
    fn no_try_began_before_its_exec_whatever_the_pod_says() {
        let both = times(&[look(100.0), look(100.0)], seconds(10.0, 11.0));
        assert!(both.iter().all(|(from, until)| *from >= seconds(10.0, 0.0).0 && from <= until), "{both:?}");
    }
}
