//! What `/metrics` shows, in Prometheus' text format.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::decide::{Reason, Rules, Situation, Standing, standing};
use crate::model::{State, Unseen};

/// A watcher that has not looked for so long does not live: three looks failed to end.
const ALIVE: Duration = Duration::from_secs(200);

/// What the watcher knows in numbers; times are in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// When each Kustomization was verified last.
    pub verified: BTreeMap<String, i64>,
    /// When the last completed check ended.
    pub checked: Option<i64>,
    /// Each Kustomization's standing.
    pub standings: BTreeMap<String, &'static str>,
    /// Flows that could not be told, by their state.
    pub flows: BTreeMap<&'static str, usize>,
    /// Open findings.
    pub findings: usize,
    /// Messages that are owed.
    pub owed: usize,
    /// Jobs that are active.
    pub active: usize,
    /// Jobs that were made, by reason.
    pub created: BTreeMap<Reason, u64>,
    /// When something moved last.
    pub event: Option<i64>,
    /// When everything was looked at last.
    pub looked: Option<i64>,
    /// Looks and watches that failed.
    pub troubles: u64,
}

/// Every value of the label `standing`.
const STANDINGS: [&str; 4] = ["checked", "waiting", "moving", "failed"];

impl Figures {
    /// Takes over what a look saw.
    fn saw(&mut self, situation: &Situation<'_>, rules: &Rules, now: &str) {
        let state = situation.state;
        self.looked = seconds(now);
        self.checked = state.checked.as_ref().and_then(|checked| seconds(&checked.finished));
        self.verified = state.verified.iter().filter_map(|(id, v)| Some((id.clone(), seconds(&v.at)?))).collect();
        let words = situation.kustomizations.iter();
        self.standings =
            words.map(|one| (one.status.id.to_string(), standing_word(standing(one, state, rules)))).collect();
        let count = |unseen| state.flows.values().filter(|flow| flow.state == unseen).count();
        let kinds = [("pending", Unseen::Pending), ("waiting", Unseen::Waiting), ("unprobeable", Unseen::Unprobeable)];
        self.flows = kinds.map(|(word, unseen)| (word, count(unseen))).into();
        self.findings = open_findings(state);
        self.owed = state.outbox.len();
        self.active = situation.jobs.iter().filter(|job| job.ended_ago.is_none()).count();
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn text(&self) -> String {
        let mut page = Page(String::new());
        page.head("build_info", "gauge", "The watcher's version.");
        page.line("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.head("last_verified_timestamp_seconds", "gauge", "When a Kustomization was last verified (exit 0).");
        for (id, at) in &self.verified {
            page.line("last_verified_timestamp_seconds", &[("kustomization", id)], *at);
        }
        page.one("last_checked_timestamp_seconds", "When the last completed check ended.", self.checked);
        page.head("kustomization", "gauge", "1 for where a Kustomization's applied revision stands.");
        for (id, word) in &self.standings {
            page.states("kustomization", id, word);
        }
        page.head("flows_not_seen", "gauge", "Flows that could not be told.");
        for (word, count) in &self.flows {
            page.line("flows_not_seen", &[("state", word)], number(*count));
        }
        page.one("findings_open", "Open findings.", self.looked.map(|_| number(self.findings)));
        page.one("messages_owed", "Messages not yet delivered.", self.looked.map(|_| number(self.owed)));
        page.one("jobs_active", "Jobs of the CronJob that run or wait.", self.looked.map(|_| number(self.active)));
        page.head("jobs_created_total", "counter", "Jobs that this watcher made.");
        for (reason, count) in &self.created {
            page.line("jobs_created_total", &[("reason", reason.word())], i64::try_from(*count).unwrap_or(i64::MAX));
        }
        page.one("watch_last_event_timestamp_seconds", "When something last moved.", self.event);
        page.one("watch_last_look_timestamp_seconds", "When everything was last looked at.", self.looked);
        page.head("watch_troubles_total", "counter", "Looks and watches that failed.");
        page.line("watch_troubles_total", &[], i64::try_from(self.troubles).unwrap_or(i64::MAX));
        page.0
    }
}

fn open_findings(state: &State) -> usize {
    state.findings.values().filter(|finding| finding.error && !finding.accepted).count()
}

const fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Checked | Standing::Recovered => "checked",
        Standing::Waiting => "waiting",
        Standing::Moving(_) => "moving",
        Standing::Failed | Standing::Told => "failed",
    }
}

fn seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A page in the text format; writing to a String does not fail.
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP netpol_verify_{name} {help}\n# TYPE netpol_verify_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: i64) {
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "netpol_verify_{name}{labels} {value}");
    }

    /// One line for each standing, 1 for the one that is so.
    fn states(&mut self, name: &str, kustomization: &str, word: &str) {
        for standing in STANDINGS {
            let labels = [("kustomization", kustomization), ("standing", standing)];
            self.line(name, &labels, i64::from(standing == word));
        }
    }

    /// A gauge without labels; one that is not known yet has no line.
    fn one(&mut self, name: &str, help: &str, value: Option<i64>) {
        self.head(name, "gauge", help);
        if let Some(value) = value {
            self.line(name, &[], value);
        }
    }
}

/// The figures, shared by the loop and the server.
#[derive(Debug)]
pub struct Board {
    figures: Mutex<Figures>,
    /// When the loop went round last, and when a look last succeeded.
    times: Mutex<(Instant, Option<Instant>)>,
}

impl Default for Board {
    fn default() -> Self {
        Self { figures: Mutex::default(), times: Mutex::new((Instant::now(), None)) }
    }
}

impl Board {
    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn times(&self) -> MutexGuard<'_, (Instant, Option<Instant>)> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures as they are now.
    #[must_use]
    pub fn now(&self) -> Figures {
        self.figures().clone()
    }

    /// A look saw this.
    pub(super) fn saw(&self, situation: &Situation<'_>, rules: &Rules, now: &str) {
        self.figures().saw(situation, rules, now);
        self.times().1 = Some(Instant::now());
    }

    /// The loop went round.
    pub(super) fn turned(&self) {
        self.times().0 = Instant::now();
    }

    /// Something moved.
    pub fn moved(&self, now: &str) {
        self.figures().event = seconds(now);
    }

    /// A look or a watch failed.
    pub fn trouble(&self) {
        self.figures().troubles += 1;
    }

    /// A Job was made.
    pub(super) fn created(&self, reason: Reason) {
        *self.figures().created.entry(reason).or_default() += 1;
    }

    /// Whether the loop goes round: a restart would help if not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.times().0.elapsed() < ALIVE
    }

    /// Whether the last looks saw everything.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.times().1.is_some_and(|looked| looked.elapsed() < ALIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Verified,
        watch::decide::tests::{RULES, checked, ready},
    };

    #[test]
    fn the_page_is_prometheus_text_and_says_what_is_known() {
        let board = Board::default();
        assert!(board.is_alive() && !board.is_ready());
        let empty = board.now().text();
        assert!(!empty.contains("\nnetpol_verify_findings_open "), "what is not known is not zero: {empty}");

        let kustomizations = [ready("a\"b\\", "r1", "d1"), ready("c", "r1", "d1")];
        let mut state = checked("c", "r1", "d1");
        let verified = Verified {
            revision: crate::model::Revision("r".to_owned()),
            at: "1970-01-01T00:01:40Z".to_owned(),
            unseen: 0,
        };
        state.verified.insert("flux-system/c".to_owned(), verified);
        let situation = Situation {
            kustomizations: &kustomizations,
            state: &state,
            last_run_ago: Duration::ZERO,
            jobs: &[],
            arrived: &[],
        };
        board.saw(&situation, &RULES, "1970-01-01T00:03:20Z");
        board.created(Reason::Merge);
        board.created(Reason::Merge);
        board.trouble();
        board.moved("1970-01-01T00:00:07Z");
        assert!(board.is_ready());
        let text = board.now().text();
        for line in [
            "netpol_verify_last_verified_timestamp_seconds{kustomization=\"flux-system/c\"} 100",
            "netpol_verify_kustomization{kustomization=\"flux-system/a\\\"b\\\\\",standing=\"waiting\"} 1",
            "netpol_verify_kustomization{kustomization=\"flux-system/a\\\"b\\\\\",standing=\"checked\"} 0",
            "netpol_verify_kustomization{kustomization=\"flux-system/c\",standing=\"checked\"} 1",
            "netpol_verify_flows_not_seen{state=\"pending\"} 0",
            "netpol_verify_findings_open 0",
            "netpol_verify_messages_owed 0",
            "netpol_verify_jobs_created_total{reason=\"merge\"} 2",
            "netpol_verify_watch_last_event_timestamp_seconds 7",
            "netpol_verify_watch_last_look_timestamp_seconds 200",
            "netpol_verify_watch_troubles_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(text.contains(&format!("# TYPE {name} ")) && text.contains(&format!("# HELP {name} ")), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
        assert!(text.ends_with('\n'));
    }
}
