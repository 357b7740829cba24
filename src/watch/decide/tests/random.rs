//! Any order of merges, failures, ends and crashes of Jobs, with two watchers that act on what they saw a while ago.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Event {
    /// Flux applies this revision.
    Apply(u8),
    /// Flux cannot apply this one.
    Fail(u8),
    /// A watcher looks; what it saw stays with it.
    Look(usize),
    /// A watcher acts on what it saw last.
    Act(usize),
    /// A run reads what is applied.
    Begin(usize),
    /// A run writes its state and its Job ends; it may have been unable to check.
    End(usize, bool),
    /// A Job dies without a word.
    Crash(usize),
    /// A Job that ended is removed.
    Collect(usize),
    Pass(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (0_u8..4).prop_map(Event::Apply),
        1 => (0_u8..4).prop_map(Event::Fail),
        5 => (0_usize..2).prop_map(Event::Look),
        5 => (0_usize..2).prop_map(Event::Act),
        4 => (0_usize..3).prop_map(Event::Begin),
        4 => ((0_usize..3), prop::bool::weighted(0.8)).prop_map(|(job, counts)| Event::End(job, counts)),
        2 => (0_usize..3).prop_map(Event::Crash),
        1 => (0_usize..3).prop_map(Event::Collect),
        3 => (1_u16..700).prop_map(Event::Pass),
    ]
}

#[derive(Debug, Clone)]
struct Job {
    about: Observed,
    ended: Option<Duration>,
    /// What its run read.
    read: Option<Observed>,
}

#[derive(Debug, Clone)]
struct Seen {
    kustomizations: Vec<Observed>,
    state: State,
    last_run_ago: Duration,
    jobs: Vec<JobSeen>,
}

struct World {
    now: Duration,
    flux: Observed,
    state: State,
    last_run: Duration,
    jobs: BTreeMap<String, Job>,
    seen: [Option<Seen>; 2],
    made: usize,
}

impl World {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            flux: ready("a", "r0", "d0"),
            state: State::default(),
            last_run: Duration::ZERO,
            jobs: BTreeMap::new(),
            seen: [None, None],
            made: 0,
        }
    }

    fn names(&self, active: bool) -> Vec<String> {
        self.jobs.iter().filter(|(_, job)| job.ended.is_none() == active).map(|(name, _)| name.clone()).collect()
    }

    fn nth_active(&mut self, place: usize) -> Option<(String, &mut Job)> {
        let active = self.names(true);
        let name = active.get(place % active.len().max(1))?.clone();
        let job = self.jobs.get_mut(&name)?;
        Some((name, job))
    }

    fn look(&mut self, watcher: usize) {
        let seen = |(name, job): (&String, &Job)| JobSeen {
            name: name.clone(),
            ended_ago: job.ended.map(|ended| self.now.saturating_sub(ended)),
        };
        self.seen[watcher] = Some(Seen {
            kustomizations: vec![self.flux.clone()],
            state: self.state.clone(),
            last_run_ago: self.now.saturating_sub(self.last_run),
            jobs: self.jobs.iter().map(seen).collect(),
        });
    }

    /// What the watcher does about what it saw; a Job whose name is taken is refused by the API server.
    fn act(&mut self, watcher: usize) -> Option<Decision> {
        let Seen { kustomizations, state, last_run_ago, jobs } = self.seen[watcher].take()?;
        let (jobs, arrived) = (&jobs[..], &[][..]);
        let situation = Situation { kustomizations: &kustomizations, state: &state, last_run_ago, jobs, arrived };
        let decision = decide(&situation, &RULES);
        if let Decision::Create(order) = &decision
            && !self.jobs.contains_key(&order.name)
        {
            let about = kustomizations[0].clone();
            let twin = self.jobs.iter().find(|(_, job)| job.ended.is_none() && job.about == about);
            assert!(twin.is_none(), "two Jobs about one thing at once: {order:?} beside {twin:?}");
            self.made += 1;
            self.jobs.insert(order.name.clone(), Job { about, ended: None, read: None });
        }
        Some(decision)
    }

    fn begin(&mut self, place: usize) {
        // The Lease: one run at a time.
        let is_free = self.jobs.values().all(|job| job.read.is_none() || job.ended.is_some());
        let flux = self.flux.clone();
        if let Some((_, job)) = self.nth_active(place).filter(|_| is_free) {
            job.read = Some(flux);
        }
    }

    fn end(&mut self, place: usize, counts: bool) {
        let (now, flux) = (self.now, self.flux.clone());
        let Some((name, job)) = self.nth_active(place) else { return };
        let Some(read) = job.read.clone() else { return };
        // It starts over when something newer is applied meanwhile.
        if read.status != flux.status {
            job.read = Some(flux);
            return;
        }
        job.ended = Some(now);
        if is_checked_one(&self.state, &read.status) && self.state.failed.is_empty() {
            return;
        }
        // What others saw before is too old to act on: a look and what follows take less than a run.
        self.seen = [None, None];
        let seq = self.state.seq + 1;
        let mut next = State { id: "id".to_owned(), seq, ..self.state.clone() };
        next.runs.insert(0, run_record(seq, &name, Verdict::Inconclusive));
        next.failed.clear();
        if let Some(not_applied) = &read.status.not_applied {
            let (attempted, reason) = (read.status.attempted.clone(), not_applied.reason.clone());
            next.failed.push(FailedApply { id: id("a"), attempted, reason, event: None });
        } else if counts {
            next.checked =
                checked("a", &read.status.applied.unwrap().0, read.status.digest.as_deref().unwrap()).checked;
            next.checked.as_mut().unwrap().seq = seq;
        }
        (self.state, self.last_run) = (next, now);
    }

    fn play(&mut self, event: &Event) {
        match *event {
            Event::Apply(n) => self.flux = ready("a", &format!("r{n}"), &format!("d{}", n % 3)),
            Event::Fail(n) => self.flux = failing("a", &format!("bad{n}"), "BuildFailed"),
            Event::Look(watcher) => self.look(watcher),
            Event::Act(watcher) => drop(self.act(watcher)),
            Event::Begin(place) => self.begin(place),
            Event::End(place, counts) => self.end(place, counts),
            Event::Crash(place) => {
                let now = self.now;
                if let Some((_, job)) = self.nth_active(place) {
                    job.ended = Some(now);
                }
            }
            Event::Collect(place) => {
                if let Some(name) = self.names(false).get(place) {
                    self.seen = [None, None];
                    self.jobs.remove(name);
                }
            }
            Event::Pass(seconds) => self.now += Duration::from_secs(seconds.into()),
        }
    }

    /// Whether what Flux says now was checked or told: the slow reading, from the state alone.
    fn is_done(&self) -> bool {
        let status = &self.flux.status;
        if status.not_applied.is_some() {
            return self.state.failed.iter().any(|f| f.attempted == status.attempted);
        }
        let mut checked = self.state.checked.iter().flat_map(|c| &c.kustomizations);
        let right = checked.any(|k| Some(&k.revision) == status.applied.as_ref() && k.digest == status.digest);
        right && self.state.failed.is_empty()
    }

    /// Nothing moves any more, and Jobs work: a watcher looks, its Job runs.
    fn settle(&mut self) {
        let made = self.made;
        for _ in 0..12 {
            while !self.names(true).is_empty() {
                self.begin(0);
                for place in 0..self.names(true).len() {
                    self.end(place, true);
                }
            }
            self.look(0);
            match self.act(0) {
                Some(Decision::Nothing(Why::Settled)) => break,
                Some(Decision::Wait(left, _)) => self.now += left,
                _ => self.now += SECOND,
            }
        }
        assert!(self.is_done(), "not looked at: {:?} after {:?}", self.flux, self.state.runs);
        assert!(self.made <= made + 1, "{} Jobs for one thing", self.made - made);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever happened, what Flux says in the end is checked or told, by at most one Job at a time for each thing.
    #[test]
    fn everything_is_looked_at_and_nothing_twice_at_once(events in prop::collection::vec(event(), 0..60)) {
        let mut world = World::new();
        for event in &events {
            world.play(event);
        }
        world.settle();
        // And then there is peace.
        let made = world.made;
        for _ in 0..5 {
            world.now += RULES.stuck;
            world.look(0);
            world.act(0);
        }
        prop_assert_eq!(world.made, made);
    }
}
