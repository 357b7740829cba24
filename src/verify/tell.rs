//! What the room is told, and when (design §6).

use std::collections::BTreeMap;

use super::{
    applied,
    conclude::{WAITING, is_older, told_keys},
};
use crate::{
    config::Config,
    model::{
        Cleared, FlowReport, FlowResult, KustomizationRef, KustomizationStatus, OutboxEntry, OutboxKind, Report, State,
        Trigger, Trouble, Unseen, Verdict,
    },
    report::{
        message::{self, Message, MessageOptions},
        txn::txn,
    },
};

/// An unchanged red is brought to mind so often.
const REMINDER: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// What decides about messages.
pub struct Telling<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The state before the run.
    pub before: &'a State,
    /// The report.
    pub report: &'a Report,
    /// What Flux says.
    pub statuses: &'a [KustomizationStatus],
    /// Whether some (revision, digest) was not checked before.
    pub new_revision: bool,
}

impl Telling<'_> {
    /// Puts the run's messages into the outbox of `next`, and remembers who was mentioned. Whether there is a root message.
    pub fn tell(&self, next: &mut State) -> bool {
        let options = options(self.config, self.before);
        let mut writer = Writer::new(next, self.report);
        let root = self.wants_root() && message::is_wanted(self.report, &options);
        if root {
            let mention = self.mentions();
            let keys = told_keys(self.report, true).into_iter().chain(self.introduced()).collect();
            writer.root(&message::root(self.report, &options, mention), keys);
            for part in message_parts(self.report, &options) {
                writer.part(&part);
            }
        }
        for ((thread, wrong), cleared) in self.recovered() {
            let write = if wrong { message::seen_wrong } else { message::recovery };
            writer.reply(&write(&cleared, self.report, &options), thread);
        }
        let entries = writer.entries;
        if !root {
            self.remind(next, &options);
        } else if self.mentions() {
            for key in told_keys(self.report, false) {
                if let Some(finding) = next.findings.get_mut(&key) {
                    finding.mentioned = true;
                }
            }
        }
        // Its thread also hears of what is waited for without making a run yellow.
        let over = !next.flows.values().any(|record| record.state != Unseen::Unprobeable);
        match (self.report.verdict == Verdict::Verified, root) {
            (true, _) if over => next.trouble = None,
            (false, true) => next.trouble = Some(Trouble { event: None, told: self.report.finished.clone() }),
            _ => {}
        }
        next.outbox.extend(entries);
        root
    }

    /// A new revision, another verdict or set of findings, a failed apply that was not told, a person.
    fn wants_root(&self) -> bool {
        let untold = self.statuses.iter().any(|s| self.is_untold(s));
        if self.report.verdict == Verdict::NotApplied {
            return untold || self.report.trigger == Trigger::Manual;
        }
        let checked = self.before.checked.as_ref();
        let other_verdict = checked.is_some_and(|c| c.verdict != self.report.verdict);
        // Something new is told; what is only gone is told in its own thread.
        let something_new = !told_keys(self.report, true).is_empty() || self.introduces();
        let worse = other_verdict && self.report.verdict != Verdict::Verified && something_new;
        let unthreaded = self.report.cleared.iter().any(|c| c.thread.is_none());
        self.new_revision
            || untold
            || self.report.trigger == Trigger::Manual
            || something_new
            || worse
            || (unthreaded && other_verdict)
    }

    /// Flows that could not be told and were not known before.
    fn introduces(&self) -> bool {
        self.untold_flows().next().is_some()
    }

    fn untold_flows(&self) -> impl Iterator<Item = &FlowReport> {
        let flows = self.report.flows.iter();
        flows.filter(|f| f.result == FlowResult::Inconclusive && f.new && f.accepted_until.is_none())
    }

    /// Keys of the flows and waiting rules that this run's message brings up.
    fn introduced(&self) -> impl Iterator<Item = String> {
        // A first message only counts its rules.
        let rules = self.report.findings.iter().filter(|f| f.new && !self.report.first_run);
        let rules = rules.filter(|f| f.key.starts_with(WAITING)).map(|f| f.key.clone());
        self.untold_flows().map(FlowReport::key).chain(rules)
    }

    fn is_untold(&self, status: &KustomizationStatus) -> bool {
        let Some(not_applied) = &status.not_applied else { return false };
        let attempted = not_applied.attempted.clone().or_else(|| status.attempted.clone());
        let told = self
            .before
            .failed
            .iter()
            .any(|f| f.id == status.id && f.attempted == attempted && f.reason == not_applied.reason);
        !told && applied::is_worth_telling(not_applied, self.config, &self.report.finished)
    }

    /// People are mentioned once for a finding: where something of exit 1 is new, and for a failed apply that is.
    fn mentions(&self) -> bool {
        let unmentioned = |key: &String| self.before.findings.get(key).is_none_or(|f| !f.mentioned);
        match self.report.verdict {
            Verdict::Finding => told_keys(self.report, false).iter().any(unmentioned),
            Verdict::NotApplied => self.statuses.iter().any(|s| self.is_untold(s)),
            Verdict::Verified | Verdict::Inconclusive | Verdict::Nothing => false,
        }
    }

    /// What is cleared by the thread that told it, what was found wrong apart, and applies that failed and work now.
    fn recovered(&self) -> BTreeMap<(String, bool), Vec<Cleared>> {
        let mut threads: BTreeMap<(String, bool), Vec<Cleared>> = BTreeMap::new();
        for cleared in &self.report.cleared {
            if let Some(thread) = &cleared.thread {
                threads.entry((thread.clone(), cleared.wrong)).or_default().push(cleared.clone());
            }
        }
        let applied = |id| self.statuses.iter().any(|s| s.id == id && s.not_applied.is_none());
        for failed in self.before.failed.iter().filter(|f| applied(f.id.clone())) {
            if let Some(event) = &failed.event {
                let key = format!("flux/{}", failed.id);
                let since = failed.attempted.clone();
                let cleared = Cleared { key, since, thread: Some(event.clone()), wrong: false };
                threads.entry((event.clone(), false)).or_default().push(cleared);
            }
        }
        threads
    }

    /// An unchanged red gets one reminder a day, in its thread.
    fn remind(&self, next: &mut State, options: &MessageOptions) {
        let red = matches!(self.report.verdict, Verdict::Finding | Verdict::NotApplied);
        let Some(trouble) = self.before.trouble.as_ref().filter(|_| red) else { return };
        let Some(event) = trouble.event.clone() else { return };
        if !is_older(&trouble.told, &self.report.finished, REMINDER) {
            return;
        }
        let open: Vec<(String, String)> =
            next.findings.iter().filter(|(_, f)| f.error).map(|(k, f)| (k.clone(), f.summary.clone())).collect();
        let text = message::reminder(&open, self.report, options);
        next.trouble = Some(Trouble { event: Some(event.clone()), told: self.report.finished.clone() });
        let mut writer = Writer::new(next, self.report);
        writer.part = REMINDER_PART;
        writer.reply(&text, event);
        let entries = writer.entries;
        next.outbox.extend(entries);
    }
}

/// How messages are written, with what the state says was verified last.
#[must_use]
pub fn options(config: &Config, state: &State) -> MessageOptions {
    let verified = state.verified.iter();
    let verified = verified.filter_map(|(id, v)| Some((KustomizationRef::parse(id)?, v.revision.clone())));
    MessageOptions {
        commit_url: config.commit_url.clone(),
        mention: config.matrix.mention.clone(),
        quiet_merges: config.matrix.quiet_merges,
        verified: verified.collect(),
        ..MessageOptions::default()
    }
}

/// A root message of its own, beside those of a run's report.
#[must_use]
pub fn root(state_id: &str, seq: u64, part: u32, message: &Message, at: &str) -> OutboxEntry {
    OutboxEntry {
        txn: txn(state_id, seq, part),
        seq,
        part,
        kind: OutboxKind::Root,
        content: message.content(),
        root_txn: None,
        root_event: None,
        findings: Vec::new(),
        at: at.to_owned(),
        tried: None,
    }
}

/// The reminder's part number: apart from those of the run's other messages.
const REMINDER_PART: u32 = 10_000;

fn message_parts(report: &Report, options: &MessageOptions) -> Vec<Message> {
    if message::is_quiet(report) { Vec::new() } else { crate::report::thread::thread(report, options) }
}

/// Writes outbox entries of one run.
struct Writer<'a> {
    id: String,
    report: &'a Report,
    part: u32,
    root: Option<String>,
    entries: Vec<OutboxEntry>,
}

impl<'a> Writer<'a> {
    fn new(state: &State, report: &'a Report) -> Self {
        Self { id: state.id.clone(), report, part: 0, root: None, entries: Vec::new() }
    }

    fn root(&mut self, message: &Message, findings: Vec<String>) {
        let entry = self.entry(message, OutboxKind::Root);
        self.root = Some(entry.txn.clone());
        self.entries.push(OutboxEntry { findings, ..entry });
    }

    fn part(&mut self, message: &Message) {
        let entry = self.entry(message, OutboxKind::Thread);
        self.entries.push(OutboxEntry { root_txn: self.root.clone(), ..entry });
    }

    fn reply(&mut self, message: &Message, event: String) {
        let entry = self.entry(message, OutboxKind::Reply);
        self.entries.push(OutboxEntry { root_event: Some(event), ..entry });
    }

    fn entry(&mut self, message: &Message, kind: OutboxKind) -> OutboxEntry {
        let part = self.part;
        self.part += 1;
        OutboxEntry { kind, ..root(&self.id, self.report.seq, part, message, &self.report.finished) }
    }
}
