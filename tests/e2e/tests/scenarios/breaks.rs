//! What carries a probe breaks while it is under way: what it would have shown is pending, and never taken for a denial.

use anyhow::Result;
use e2e::{Setup, poll::seconds, scenario};

use crate::edits::{close_sessions, open_both_sides, row, web_to_db};

/// The node's agent carries every exec, and reports what became of the verifier's own pod: it has to come back before
/// the run is known to have ended.
#[test]
fn without_the_kubelet_closed_flows_are_pending_and_seen_once_it_is_back() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        close_sessions(scene)?;
        let commit = scene.merge("Sessions moved out of the database").await?;
        let probing = scene.audit()?;
        let job = scene.verifier.start_for(&commit).await?;
        probing.first_exec().await?;
        scene.cluster.server("stop", "kubelet").await?;
        // Shorter than what makes a node NotReady.
        tokio::time::sleep(seconds(20)).await;
        scene.cluster.server("start", "kubelet").await?;
        let run = scene.verifier.wait(&job).await?;
        let report = run.expect(3)?;
        let flow = web_to_db(scene, report, 6379);
        assert_eq!((flow.result.as_str(), flow.state.as_deref()), ("inconclusive", Some("pending")), "{report}");
        assert_eq!(flow.observed, "cut", "{report}");
        let message = scene.room.last().await?;
        assert!(message.first_line().starts_with('⚠'), "never green: {}", message.body);
        scene.wait_until_ready("shop").await?;
        let run = scene.verifier.run_scheduled().await?;
        let flow = web_to_db(scene, run.expect(0)?, 6379);
        assert_eq!(row(flow)[1..], ["denied", "denied", "timeout", "verified"]);
        Ok(())
    })
}

/// A crash of it breaks every exec at once; it is started again, and so are they.
#[test]
fn a_kubelet_that_crashes_during_a_probe_costs_no_verdict() -> Result<()> {
    scenario(Setup { alone: true, ..Setup::default() }, async |scene| {
        scene.first_run().await?;
        close_sessions(scene)?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Use pgbouncer for sessions").await?;
        let probing = scene.audit()?;
        let job = scene.verifier.start_for(&commit).await?;
        probing.first_exec().await?;
        scene.cluster.server("kill", "kubelet").await?;
        let run = scene.verifier.wait(&job).await?;
        // Tried again within the run, or left to the next one: but never otherwise than packets are.
        let again;
        let report = if run.code == 0 {
            run.expect(0)?
        } else {
            let left = run.expect(3)?;
            assert!(left.flows.iter().all(|flow| flow.result != "enforcement"), "{left}");
            again = scene.verifier.run_scheduled().await?;
            again.expect(0)?
        };
        assert!(report.flows.iter().all(|flow| flow.result == "verified"), "{report}");
        Ok(())
    })
}
