//! What the Services in front of a probe's target answer: users connect to those.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Purpose, Question, Track};
use crate::{
    engine::through::{self, Through},
    model::{Decision, DenialLook, FlowReport, FlowResult, Outcome, PodRef, ServiceSeen, Unseen},
};

/// What was seen at the addresses of Services, by position in the plan's list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Services {
    /// By the source, the last try.
    own: BTreeMap<usize, Outcome>,
    /// By somebody who may reach the target.
    others: BTreeMap<usize, Outcome>,
}

impl Services {
    pub(super) fn note(&mut self, index: usize, is_own: bool, outcome: Outcome) {
        let seen = if is_own { &mut self.own } else { &mut self.others };
        seen.insert(index, outcome);
    }
}

impl Track {
    /// The Services whose answer says something: one whose endpoints differ in verdict may answer anything.
    fn asked_services(&self) -> impl Iterator<Item = (usize, &Through)> {
        let expected = self.planned.flow.live;
        let says = move |through: &Through| match expected {
            Decision::Allowed => through.live.is_some(),
            Decision::Denied => through.live == Some(Decision::Denied) && through.leads_to.is_none(),
            Decision::Undefined => false,
        };
        self.planned.through.iter().enumerate().filter(move |(_, through)| says(through))
    }

    /// What is asked beside the flow, in the same exec, and of one who may reach the target where there is doubt.
    pub(super) fn service_questions(&self, doubtful: bool) -> Vec<Question> {
        let other = self.planned.target_controls.iter().find(|control| doubtful && !control.itself);
        let mut questions = Vec::new();
        for (index, through) in self.asked_services() {
            let ask = |from: &PodRef, own| Question {
                from: from.clone(),
                address: through.address,
                purpose: Purpose::Service(index, own),
                twice: false,
            };
            questions.push(ask(&self.planned.source, true));
            questions.extend(other.map(|other| ask(&other.from, false)));
        }
        questions
    }

    /// Whether nothing more is to be learned of them; nothing is where the flow itself could not be asked.
    pub(super) fn services_are_settled(&self) -> bool {
        if !is_packet(self.observed()) {
            return true;
        }
        self.asked_services().all(|(index, through)| match self.services.own.get(&index) {
            None => false,
            Some(outcome) if self.planned.flow.live == Decision::Denied => *outcome != Outcome::Open,
            // That nothing will open it is known.
            Some(_) if through.live == Some(Decision::Denied) => true,
            Some(outcome) => self.agrees(*outcome, through),
        })
    }

    /// Whether a Service answers as the pod behind it does.
    fn agrees(&self, outcome: Outcome, through: &Through) -> bool {
        let nothing_listens = outcome == Outcome::Refused && through.leads_to.is_none();
        outcome == Outcome::Open
            || nothing_listens && self.observed() == Outcome::Refused && self.look == DenialLook::Drop
    }

    /// Takes the Services' answers into the flow's report.
    pub fn tell_services(&self, report: &mut FlowReport) {
        for (index, through) in self.asked_services() {
            let Some(outcome) = self.services.own.get(&index).copied() else { continue };
            let Through { service, address, leads_to, .. } = through;
            report.services.push(ServiceSeen {
                service: service.clone(),
                address: address.ip.to_string(),
                port: address.port,
                leads_to: *leads_to,
                observed: outcome,
            });
            if report.result != FlowResult::Verified {
                continue;
            }
            if self.planned.flow.live == Decision::Denied && outcome == Outcome::Open {
                report.result = FlowResult::Enforcement;
                report.note = Some(format!("open through {service}:{} ({})", address.port, address.ip));
            } else if self.planned.flow.live == Decision::Allowed && !self.agrees(outcome, through) {
                let (state, why) = self.cause(index, through);
                report.result = FlowResult::Inconclusive;
                report.state = Some(state);
                let at = format!("{service}:{}", address.port);
                report.note = Some(through::silent(&at, outcome, &why));
            }
        }
        self.tell_mixed(report);
    }

    /// Says which Services were not asked.
    fn tell_mixed(&self, report: &mut FlowReport) {
        let mixed = self.planned.through.iter().find(|through| through.live.is_none() && through.leads_to.is_none());
        if let (Some(through), FlowResult::Verified, None) = (mixed, report.result, &report.note) {
            let Through { service, address, .. } = through;
            let at = format!("{service}:{}", address.port);
            report.note = Some(format!("at the pod's own address: the policies tell the endpoints of {at} apart"));
        }
    }

    /// Why a Service does not lead where its pod is reached, and whether it will by itself.
    fn cause(&self, index: usize, through: &Through) -> (Unseen, String) {
        if self.services.own.get(&index).is_some_and(|outcome| !is_packet(*outcome)) {
            return (Unseen::Pending, "it could not be asked".to_owned());
        }
        match (through.leads_to, through.live) {
            (Some(target), Some(Decision::Denied)) => {
                (Unseen::Waiting, format!("its target port is {target}, which the policies deny"))
            }
            (Some(target), _) => (Unseen::Waiting, format!("its target port is {target}, where nothing answers")),
            (None, _) if self.services.others.get(&index) == Some(&Outcome::Open) => (
                Unseen::Pending,
                "it answers others, so look at the Service proxy (kube-proxy) of the source's node, and at its other endpoints".to_owned(),
            ),
            (None, _) => {
                (Unseen::Pending, "look at its other endpoints, and at the Service proxy (kube-proxy)".to_owned())
            }
        }
    }
}

/// Whether an outcome says something about packets.
const fn is_packet(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Open | Outcome::Refused | Outcome::Timeout | Outcome::Unreachable)
}
