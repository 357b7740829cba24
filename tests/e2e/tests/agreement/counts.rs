//! How many flows hang on what.

use anyhow::{Result, ensure};
use oracle::{Answer, features, random::tiered::Packet, tiers::World};

use crate::{
    asked::{Asked, Flow},
    plan::Plan,
};

/// Flows that hang on each feature, at least.
const ENOUGH: usize = 10;
/// What hangs on a feature is counted no further, for the oracle takes its time.
const COUNTED: usize = 30;
/// Of so many flows one is asked about each feature, for the same reason. Neighbours are of the same two ends.
const STEP: usize = 3;

/// How many flows were held against packets, in all and by what they hang on.
#[derive(Default)]
pub struct Counts {
    /// Those that all agree on.
    pub flows: usize,
    allowed: usize,
    /// Those that the engine leaves open: they are not among the flows.
    undefined: usize,
    /// Those that the enforcer is known to let through though they are denied.
    known: usize,
    /// Those to the address of a Service, and those of them that are answered otherwise at that address.
    services: [usize; 2],
    /// Those that hang on each feature, counted up to [`COUNTED`] at least.
    features: Vec<usize>,
}

impl Counts {
    /// Nothing yet.
    pub fn new(plan: &Plan) -> Self {
        Self { features: vec![0; plan.features.len()], ..Self::default() }
    }

    /// The features that have decided too few flows.
    pub fn rare(&self, plan: &Plan) -> Vec<&'static str> {
        let counted = plan.features.iter().zip(&self.features);
        counted.filter(|(_, count)| **count < ENOUGH).map(|(feature, _)| feature.name).collect()
    }

    /// Counts a round.
    pub fn add(&mut self, plan: &Plan, asked: &Asked) {
        let allowed = |flow: &Flow| flow.answer == Answer::Allowed;
        let (agreed, known): (Vec<Flow>, Vec<Flow>) = asked.flows.iter().partition(|flow| flow.passes == allowed(flow));
        self.flows += agreed.len();
        self.allowed += agreed.iter().filter(|flow| allowed(flow)).count();
        self.known += known.len();
        self.undefined += asked.undefined;
        let services: Vec<&Flow> = agreed.iter().filter(|flow| flow.service.is_some()).collect();
        let [all, other] = &mut self.services;
        *all += services.len();
        *other += services.iter().filter(|flow| answered_otherwise_at_service(&asked.world, flow)).count();
        let some: Vec<&Flow> = agreed.iter().step_by(STEP).collect();
        let packets: Vec<Packet> = some.iter().map(|flow| flow.packet).collect();
        let counted = plan.features.iter().zip(&mut self.features);
        for (feature, count) in counted.filter(|(_, count)| **count < COUNTED) {
            let Some(without) = feature.taken_from(&asked.world) else { continue };
            let answers = features::answers(&without, &packets);
            *count += some.iter().zip(answers).filter(|(flow, without)| flow.answer != *without).count();
        }
    }
}

/// Whether the flow would be answered otherwise if policies saw the Service's address in the place of the pod's.
fn answered_otherwise_at_service(world: &World, flow: &Flow) -> bool {
    flow.service.is_some_and(|(address, port)| {
        let packet = Packet { dst: address, port: Some(port), ..flow.packet };
        features::answers(world, &[packet]).first() != Some(&flow.answer)
    })
}

/// Prints what was counted.
pub fn table(plan: &Plan, counts: &Counts) {
    let Counts { flows, allowed, undefined, known, services: [services, at_service], .. } = counts;
    println!("\n{flows} flows agree: {allowed} allowed, {} denied", flows - allowed);
    println!("{undefined} more are left open by the engine, {known} are let through by an error of the enforcer (K1)");
    println!("\n| feature | of each {STEP}rd flow, those that hang on it |\n| --- | ---: |");
    for (feature, count) in plan.features.iter().zip(&counts.features) {
        let more = if *count < COUNTED { "" } else { ", counted no further" };
        println!("| {} | {count}{more} |", feature.name);
    }
    println!("| Service, by its address | {at_service} of {services} |");
}

/// Demands that enough was asked, of every kind.
///
/// # Errors
/// It was not.
pub fn judge(plan: &Plan, counts: &Counts) -> Result<()> {
    let rare = counts.rare(plan);
    ensure!(rare.is_empty(), "fewer than {ENOUGH} flows hang on: {}", rare.join(", "));
    let [_, through_services] = counts.services;
    ensure!(through_services >= ENOUGH, "only {through_services} flows hang on Services");
    ensure!(counts.flows >= plan.flows, "only {} flows of {}", counts.flows, plan.flows);
    ensure!(counts.undefined * 100 <= counts.flows, "the engine leaves {} flows open", counts.undefined);
    let denied = 100 - 100 * counts.allowed / counts.flows.max(1);
    ensure!((20..=80).contains(&denied), "{denied} % are denied: that asks little");
    Ok(())
}
