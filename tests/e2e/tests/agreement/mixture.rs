//! Random mixtures of all kinds of policy that the running data plane enforces, until each of their features has
//! decided enough flows.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use e2e::{Cluster, poll::seconds};
use oracle::random::tiered;
use serde_json::{Value, json};

use crate::{
    asked::Asked,
    counts::{Counts, judge, table},
    expected::{self, Expected, LIMIT},
    packets::Packets,
    plan::Plan,
    standing::Standing,
};

/// Sets of policies, at most.
const MOST: u64 = 80;
/// How many disagreements are told in full.
const TOLD: usize = 3;
/// How long a flow is tried while policies are taken away around it.
const PATIENCE: Duration = seconds(4);

/// Plays rounds until each feature has decided enough flows, from the given one on.
///
/// # Errors
/// Engine, oracle and packets do not agree, or a feature decides too few flows.
pub async fn play(cluster: &Cluster, seed: u64, first: u64) -> Result<()> {
    let plan = Plan::of(cluster)?;
    let mut drawn = tiered::standing(seed, &plan.mix);
    let mut before: Vec<Value> = tiered::accounts(&plan.mix);
    // Every namespace has that one by itself.
    before.retain(|account| account.pointer("/metadata/name").is_some_and(|name| name != "default"));
    before.extend(tiered::with_services(seed, &plan.mix, &mut drawn));
    let standing = Standing::create(cluster, &drawn, &before).await?;
    let outcome = all_rounds(&plan, &standing, seed, first).await;
    if outcome.is_ok() || std::env::var_os("E2E_KEEP").is_none() {
        standing.with_documents(&plan.mix, &[]).await?;
        standing.remove().await?;
    }
    let counts = outcome?;
    table(&plan, &counts);
    judge(&plan, &counts)
}

async fn all_rounds(plan: &Plan, standing: &Standing, seed: u64, first: u64) -> Result<Counts> {
    standing.wait_for_endpoints().await?;
    let places = standing.places(&plan.mix.shape).await?;
    let packets = Packets::start(&standing.cluster, &places).await?;
    let mut field = Field { plan, standing, packets };
    // The control: without a policy everything is open, so what is closed later is closed by a policy.
    println!("without policies: {} flows, all open", field.hold(&[]).await?.flows.len());
    let mut counts = Counts::new(plan);
    for round in first..first + MOST {
        let started = Instant::now();
        let mut drawn = tiered::policies(seed + round, &plan.mix(round), &standing.plain()?);
        // The real ones come from a controller.
        drawn.retain(|document| document.pointer("/kind").is_some_and(|kind| kind != "EndpointSlice"));
        let asked = field.hold(&standing.real(&drawn)?).await?;
        let (held, counting) = (started.elapsed(), Instant::now());
        counts.add(plan, &asked);
        let rare = counts.rare(plan);
        let (flows, documents, counted) = (asked.flows.len(), drawn.len(), counting.elapsed());
        println!(
            "round {round}: {flows} flows agree under {documents} documents, {held:.1?}; counted in {counted:.1?}"
        );
        println!("         still rare: {}", rare.join(", "));
        if rare.is_empty() && counts.flows >= plan.flows {
            break;
        }
    }
    Ok(counts)
}

/// Where rounds are played.
struct Field<'a> {
    plan: &'a Plan,
    standing: &'a Standing,
    packets: Packets,
}

impl Field<'_> {
    async fn asked(&self, policies: &[Value]) -> Result<Asked> {
        Asked::of(self.standing.with_documents(&self.plan.mix, policies).await?, &self.plan.mix.shape)
    }

    /// Demands that packets do what is expected under these policies.
    ///
    /// # Errors
    /// They do not, or engine and oracle do not agree; the error tells the policies that this needs.
    async fn hold(&mut self, policies: &[Value]) -> Result<Asked> {
        let asked = self.asked(policies).await?;
        let otherwise = expected::hold(&mut self.packets, self.plan.data_plane, &asked.expected(), LIMIT).await?;
        let wrong = otherwise.iter().filter_map(|(place, seen)| Some((asked.flows.get(*place)?, seen)));
        let mut told: Vec<String> = wrong
            .take(TOLD)
            .map(|(flow, seen)| {
                format!("the engine says {:?}, packets say `{seen}`: {}", flow.answer, asked.told(flow))
            })
            .collect();
        let Some((place, _)) = otherwise.first() else { return Ok(asked) };
        let needed = self.needed(policies.to_vec(), *place).await?;
        told.push(format!("what the first of them needs, by packets:\n{:#}", json!(needed)));
        bail!("{} of {} flows go otherwise:\n{}", otherwise.len(), asked.flows.len(), told.join("\n"))
    }

    /// Takes policies away as long as packets of the flow at this place go otherwise than expected.
    async fn needed(&mut self, mut policies: Vec<Value>, place: usize) -> Result<Vec<Value>> {
        for number in (0..policies.len()).rev() {
            let mut fewer = policies.clone();
            fewer.remove(number);
            let asked = self.asked(&fewer).await?;
            let flow: Vec<Expected> = asked.expected().get(place).copied().into_iter().collect();
            let otherwise = expected::hold(&mut self.packets, self.plan.data_plane, &flow, PATIENCE).await?;
            if !otherwise.is_empty() {
                policies = fewer;
            }
        }
        Ok(policies)
    }
}
