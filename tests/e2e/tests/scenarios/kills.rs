//! Messages and flows survive a kill at any moment of a run.

use std::time::Duration;

use crate::world::{Message, RUN, Scene, Setup, scenario};
use anyhow::{Context, Result, bail, ensure};

use crate::edits::{SHOP, STORE, assert_opens, cut, egress, ingress, open_both_sides, short};

/// A merge, and the ports whose flows it opened or closed.
struct Merge {
    commit: String,
    ports: Vec<u16>,
}

/// How often the Job is killed: ten times to accept a version, fewer in CI.
fn kills() -> Result<u32> {
    std::env::var("E2E_KILLS").map_or(Ok(2), |count| count.parse().context("E2E_KILLS is no number"))
}

#[test]
fn j_killed_at_any_moment_it_loses_no_flow_and_doubles_no_message() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let mut merges = vec![merge(scene, 0, true).await?];
        let (count, mut struck) = (kills()?, 0);
        // All may come too late where there are few: then some more.
        for kill in 0..count + 5 {
            let Some(last) = merges.last().filter(|_| kill < count || struck == 0) else { break };
            let job = scene.verifier.start_for(&last.commit).await?;
            let moment = moment(kill % count, count);
            let killed = scene.kill_after(&job, moment).await?;
            eprintln!("{} {moment:?} after its Lease: {}", job.name, if killed { "killed" } else { "had ended" });
            if killed {
                struck += 1;
                continue;
            }
            // It is checked, so that nothing is left to kill: the next merge.
            let next = merges.len();
            merges.push(merge(scene, next, next % 2 == 0).await?);
        }
        ensure!(struck > 0, "no kill met a run");
        eprintln!("{struck} kills met a run, over {} merges", merges.len());
        let Some(last) = merges.last() else { return Ok(()) };
        let run = scene.verifier.run_for(&last.commit).await?;
        assert_eq!(run.code, 0, "{}", run.streams.stderr);
        for merge in &merges {
            assert_told_once(scene, merge).await?;
        }
        Ok(())
    })
}

/// Opens one more port; the flow to pgbouncer, which listens, is opened or closed beside it.
async fn merge(scene: &Scene, number: usize, opens: bool) -> Result<Merge> {
    let port = 7001 + u16::try_from(number)? * 10;
    open_both_sides(scene, port)?;
    if number > 0 && opens {
        open_both_sides(scene, 6432)?;
    } else if number > 0 {
        cut(scene, SHOP, &egress(6432))?;
        cut(scene, STORE, &ingress("web", 6432))?;
    }
    let commit = scene.merge(&format!("Merge {number}")).await?;
    Ok(Merge { commit, ports: vec![port, 6432] })
}

/// Somewhere in the part of a run that is this kill's turn, so that all of a run gets its kills.
fn moment(kill: u32, count: u32) -> Duration {
    let random = f64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs() % 1_000_000) / 1e6;
    RUN.mul_f64((f64::from(kill) + random) / f64::from(count))
}

/// One message for the merge, and in its thread each of its flows once.
async fn assert_told_once(scene: &Scene, merge: &Merge) -> Result<()> {
    let of_this = |message: &Message| message.body.contains(&short(&merge.commit));
    let messages: Vec<_> = scene.room.top().await?.into_iter().filter(of_this).collect();
    let [message] = messages.as_slice() else { bail!("one message for the revision: {messages:?}") };
    assert_opens(message, "✅", &merge.commit);
    let thread = scene.room.thread(message).await?;
    for port in &merge.ports {
        let told = thread.iter().filter(|reply| reply.body.contains(&port.to_string())).count();
        assert_eq!(told, 1, "port {port} is told once in the thread: {thread:?}");
    }
    Ok(())
}
