//! Messages and flows survive a room that is down, a kill, and two Jobs at the same time.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::{Message, Scene, Setup, Started, eventually, objects::text, poll::seconds, scenario};
use serde_json::Value;

use crate::edits::{assert_opens, open_both_sides, short, touch_readme};

#[test]
fn i_a_room_that_is_down_gets_its_message_later_and_once() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let missed = scene.merge("Let the shop use pgbouncer").await?;
        scene.cluster.server("stop", "synapse").await?;
        let run = scene.verifier.run_for(&missed).await;
        scene.cluster.server("start", "synapse").await?;
        assert_eq!(run?.code, 3, "the message could not be delivered");
        let answers = async || Ok(scene.room.messages().await.ok());
        let so_far = eventually("Synapse answers again", seconds(60), answers).await?;
        assert!(!so_far.iter().any(|message| message.body.contains(&short(&missed))), "{so_far:?}");

        touch_readme(scene, "How we do things here\n")?;
        let next = scene.merge("Write a README").await?;
        scene.verifier.run_for(&next).await?.expect(0)?;
        scene.verifier.run_scheduled().await?.expect(0)?;
        let messages = scene.room.top().await?;
        let [_, old, new] = messages.as_slice() else { panic!("the old message, then the new: {messages:?}") };
        assert_opens(old, "✅", &missed);
        assert!(old.body.contains("6432"), "{}", old.body);
        assert_opens(new, "✅", &next);
        Ok(())
    })
}

/// How often the Job is killed: ten times to accept a version, fewer in CI.
fn kills() -> Result<u64> {
    std::env::var("E2E_KILLS").map_or(Ok(2), |count| count.parse().context("E2E_KILLS is no number"))
}

#[test]
fn j_killed_at_any_moment_it_loses_no_flow_and_doubles_no_message() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        for port in [6432, 7000, 7001] {
            open_both_sides(scene, port)?;
        }
        let commit = scene.merge("Three more ports").await?;
        for kill in 0..kills()? {
            let job = scene.verifier.start_for(&commit).await?;
            // Anywhere between its first instruction and a little after its usual end.
            let moment =
                (kill * 733 + u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs()) / 1000) % 6000;
            kill_after(scene, &job, Duration::from_millis(moment)).await?;
        }
        let run = scene.verifier.run_for(&commit).await?;
        assert_eq!(run.code, 0, "{}", run.streams.stderr);
        let of_this = |message: &Message| message.body.contains(&short(&commit));
        let messages: Vec<_> = scene.room.top().await?.into_iter().filter(of_this).collect();
        let [message] = messages.as_slice() else { panic!("one message for the revision: {messages:?}") };
        assert_opens(message, "✅", &commit);
        let thread = scene.room.thread(message).await?;
        for port in ["6432", "7000", "7001"] {
            let told = thread.iter().filter(|reply| reply.body.contains(port)).count();
            assert_eq!(told, 1, "port {port} is told once in the thread: {thread:?}");
        }
        Ok(())
    })
}

/// Kills the Job's process as the kernel kills for lack of memory, unless it has ended by then.
async fn kill_after(scene: &Scene, job: &Started, moment: Duration) -> Result<()> {
    let container = |pod: &Value| text(pod, "/status/containerStatuses/0/containerID").to_owned();
    let started = async || Ok(scene.verifier.pods(job).await?.last().map(container).filter(|id| !id.is_empty()));
    let id = eventually("the Job's container starts", seconds(20), started).await?;
    tokio::time::sleep(moment).await;
    let id = id.trim_start_matches("containerd://");
    let killed = scene.cluster.inside(&["ctr", "-n", "k8s.io", "tasks", "kill", "-s", "SIGKILL", id]).await;
    eprintln!("{} after {moment:?}: {}", job.name, if killed.is_ok() { "killed" } else { "had ended" });
    scene.verifier.wait(job).await.map(drop)
}

#[test]
fn k_of_two_jobs_at_once_one_works_and_the_other_repeats_its_verdict() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let said = scene.room.top().await?.len();
        let verifier = &scene.verifier;
        let (one, other) = tokio::try_join!(verifier.run_for(&commit), verifier.run_for(&commit))?;
        assert_eq!((one.code, other.code), (0, 0));
        assert_eq!(scene.room.top().await?.len(), said + 1, "one of them spoke");
        Ok(())
    })
}

#[test]
fn k_two_jobs_by_hand_at_once_share_one_verdict() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let said = scene.room.top().await?.len();
        let verifier = &scene.verifier;
        let (one, other) = tokio::try_join!(verifier.run_by_hand(), verifier.run_by_hand())?;
        assert_eq!((one.code, other.code), (0, 0));
        let messages = scene.room.top().await?;
        let of_this: Vec<_> = messages.iter().skip(said).filter(|one| one.body.contains(&short(&commit))).collect();
        assert_eq!(of_this.len(), 1, "the merge is told once: {messages:?}");
        Ok(())
    })
}
