//! Three readings of the same policies: the verifier's engine, the oracle's slow one, and what the running data plane
//! really lets through, on random namespaces, pods, policies and flows.
//!
//! `make cluster` first; then `cargo test -p e2e --test agreement -- --nocapture`. `E2E_SEED` draws another cluster;
//! with `E2E_KEEP` it stays up when they do not agree.
//!
//! With `--ignored`, the test of all kinds of policy that the data plane enforces. Its policies may select any pod of the
//! cluster, so it wants the cluster for itself.

mod asked;
mod counts;
mod documents;
mod engine;
mod expected;
mod known;
mod mixture;
mod names;
mod packets;
mod plan;
mod round;
mod spared;
mod standing;
mod support;

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Result, ensure};
use e2e::{Cluster, DataPlane};
use oracle::random::{self, Shape};

use packets::Packets;
use round::{Agreed, Round};
use standing::Standing;

/// Policy sets held against one set of pods.
const ROUNDS: u64 = 8;
/// How many flows at least are TCP and allowed, TCP and denied, UDP and allowed, UDP and denied: 600 in all.
const LEAST_OF_A_KIND: usize = 150;
/// Hosts outside the cluster, of `tests/cluster/conf/outside-hosts`: their network namespace and address.
const OUTSIDE: [(&str, [u8; 4]); 2] = [("pg01", [192, 168, 78, 11]), ("echo", [192, 168, 78, 16])];

#[test]
fn the_engine_the_oracle_and_the_packets_agree() -> Result<()> {
    Cluster::enter(|cluster| async move {
        let seed = number("E2E_SEED", 1);
        let data_plane = cluster.data_plane()?;
        let shape = spared::shape(data_plane);
        println!("{data_plane:?}: pods of seed {seed}, policies of seeds {seed} to {}", seed + ROUNDS - 1);
        let standing = Standing::create(&cluster, &random::cluster(seed, &shape), &[]).await?;
        let outcome = all_rounds(&standing, data_plane, seed, &shape).await;
        if outcome.is_ok() || std::env::var_os("E2E_KEEP").is_none() {
            standing.remove().await?;
        }
        judge(&outcome?)
    })
}

#[test]
#[ignore = "wants the cluster for itself"]
fn all_kinds_of_policy_agree() -> Result<()> {
    Cluster::enter(|cluster| async move {
        let (seed, first, started) = (number("E2E_SEED", 1), number("E2E_ROUND", 0), Instant::now());
        println!("{}: E2E_SEED={seed} E2E_ROUND={first}", cluster.variable("DATA_PLANE")?);
        let outcome = mixture::play(&cluster, seed, first).await;
        println!("{:.0?}", started.elapsed());
        outcome
    })
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// How many flows were allowed and denied, by protocol.
type Counts = BTreeMap<Agreed, usize>;

async fn all_rounds(standing: &Standing, data_plane: DataPlane, seed: u64, shape: &Shape) -> Result<Counts> {
    let mut packets = Packets::start(&standing.cluster, &standing.places(shape).await?).await?;
    // The control: without a policy everything is open, so what is closed later is closed by a policy.
    let without = Round { data_plane, seed, cluster: standing.with_policies(&[]).await?, shape };
    println!("without policies: {} flows, all open", without.hold_against_packets(&mut packets).await?.len());
    let mut counts = Counts::new();
    for seed in seed..seed + ROUNDS {
        let started = Instant::now();
        let mut drawn = standing.real(&random::policies(seed, shape, &standing.plain()?))?;
        spared::spare(data_plane, &mut drawn);
        let round = Round { data_plane, seed, cluster: standing.with_policies(&drawn).await?, shape };
        round.hold_against_engine(&drawn)?;
        let agreed = round.hold_against_packets(&mut packets).await?;
        let allowed = agreed.iter().filter(|(_, allowed)| *allowed).count();
        println!("seed {seed}: {} flows agree, {allowed} allowed, {:.1?}", agreed.len(), started.elapsed());
        for kind in agreed {
            *counts.entry(kind).or_default() += 1;
        }
    }
    Ok(counts)
}

fn judge(counts: &Counts) -> Result<()> {
    let all: usize = counts.values().sum();
    let of = |protocol, allowed| counts.get(&(protocol, allowed)).copied().unwrap_or_default();
    for protocol in ["TCP", "UDP"] {
        let (allowed, denied) = (of(protocol, true), of(protocol, false));
        println!("{protocol}: {allowed} allowed and {denied} denied flows agree, of {all}");
        ensure!(allowed >= LEAST_OF_A_KIND, "only {allowed} flows over {protocol} are allowed");
        ensure!(denied >= LEAST_OF_A_KIND, "only {denied} flows over {protocol} are denied");
    }
    Ok(())
}
