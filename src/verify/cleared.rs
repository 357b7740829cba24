//! What a run saw of what stood before it: findings that are cured, and flows and rules that could not be told.

use super::{
    compare::Comparison,
    conclude::{open_keys, waiting_key},
    intended,
};
use crate::model::{
    Cleared, FindingRule, FlowRecord, FlowReport, FlowResult, RecordedFlow, Report, RuleRef, Severity, State, Unseen,
};

/// A report beside the state before it.
pub struct Clearing<'a> {
    /// The memory.
    pub state: &'a State,
    /// The comparison; `None` where nothing was compared.
    pub comparison: Option<&'a Comparison>,
    /// The report, with its flows and findings.
    pub report: &'a Report,
}

impl Clearing<'_> {
    /// All of it, each once.
    #[must_use]
    pub fn cleared(&self) -> Vec<Cleared> {
        let open = open_keys(self.report);
        let is_blind = intended::is_unusable(self.report);
        let mut cleared = Vec::new();
        for (key, finding) in self.state.findings.iter().filter(|(key, _)| !open.contains(*key)) {
            let cured = match &finding.flow {
                Some(flow) => self.is_cured(flow),
                // Everything else is looked at in each run: what is not there any more is cured.
                None => self.comparison.is_some() && !(is_blind && intended::is_of_list(key)),
            };
            if cured {
                cleared.push(Cleared {
                    key: key.clone(),
                    since: finding.since.clone(),
                    thread: finding.thread.clone(),
                    wrong: false,
                });
            }
        }
        cleared.extend(self.state.flows.iter().filter_map(|(key, record)| self.seen(key, record)));
        cleared
    }

    /// A flow's finding is cured when the flow is seen as declared, or is gone.
    fn is_cured(&self, flow: &RecordedFlow) -> bool {
        let key = flow.key();
        let mut now = self.flows(&key).peekable();
        if now.peek().is_none() {
            return self.comparison.is_some_and(|c| c.touched.gone.contains(&key));
        }
        let seen = [FlowResult::Verified, FlowResult::Enforcement, FlowResult::MissingEntry];
        now.all(|flow| seen.contains(&flow.result))
    }

    /// The flows of this key: to a host with several addresses there is one for each.
    fn flows(&self, key: &str) -> impl Iterator<Item = &FlowReport> {
        self.report.flows.iter().filter(move |f| f.key() == key)
    }

    /// Whether one of them was seen otherwise than it should be; `None` while one of them was not seen.
    fn is_wrong(&self, key: &str) -> Option<bool> {
        let seen: Option<Vec<bool>> = self.flows(key).map(is_wrong).collect();
        seen?.into_iter().max()
    }

    /// A flow or rule that could not be told and was seen now, as it should be or not.
    fn seen(&self, key: &str, record: &FlowRecord) -> Option<Cleared> {
        if record.state == Unseen::Unprobeable {
            return None;
        }
        let trouble = || self.state.trouble.as_ref().and_then(|t| t.event.clone());
        let (wrong, thread) = match &record.rule {
            // Nobody was told of one that only a count names.
            Some((then, _)) => (self.rule_is_wrong(key, then)?, Some(record.thread.clone()?)),
            None => (self.is_wrong(key)?, record.thread.clone().or_else(trouble)),
        };
        let checked = || self.state.checked.as_ref()?.kustomizations.first().map(|k| k.revision.clone());
        Some(Cleared { key: key.to_owned(), since: record.revision.clone().or_else(checked), thread, wrong })
    }

    /// What became of a rule that waited: `None` while nothing was seen of it, and where it is gone.
    fn rule_is_wrong(&self, key: &str, then: &RuleRef) -> Option<bool> {
        let comparison = self.comparison?;
        // After a week it was told as a finding, which has its own thread.
        if self.state.findings.contains_key(&format!("no-effect/{then}")) {
            return None;
        }
        let (now, _) = comparison.recall.waited.iter().find(|(_, waited)| *waited == key)?;
        if comparison.touched.waiting.iter().any(|silent| silent.rule == *now) {
            return None;
        }
        let mistaken = |f: &&crate::model::Finding| {
            f.rule == FindingRule::NoEffect
                && f.severity == Severity::Error
                && f.about.as_ref() == Some(now)
                && f.key != waiting_key(now)
        };
        if self.report.findings.iter().any(|f| mistaken(&f)) {
            return Some(true);
        }
        let flows = self.report.flows.iter().filter(|f| f.rules.contains(now));
        flows.filter_map(is_wrong).max()
    }
}

/// Whether a flow was seen otherwise than it should be; `None` where it was not seen.
const fn is_wrong(flow: &FlowReport) -> Option<bool> {
    match flow.result {
        FlowResult::Verified => Some(false),
        FlowResult::Enforcement | FlowResult::MissingEntry | FlowResult::Excess => Some(true),
        FlowResult::Drift | FlowResult::Inconclusive => None,
    }
}
