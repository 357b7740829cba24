//! Runs that neither the watcher nor `kubectl create job` starts give the same answer.

use anyhow::Result;
use e2e::{Scene, Setup, scenario};

use crate::edits::{open_both_sides, row, short, web_to_db};

/// A merge that opens one flow, checked by the first run that is made then.
async fn merged(scene: &Scene) -> Result<String> {
    scene.first_run().await?;
    open_both_sides(scene, 6432)?;
    scene.merge("Let the shop use pgbouncer").await
}

#[test]
fn the_schedule_starts_a_run_that_finds_what_was_merged() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let commit = merged(scene).await?;
        let job = scene.next_scheduled().await?;
        let run = scene.verifier.wait(&job).await?;
        let report = run.expect(0)?;
        assert_eq!(row(web_to_db(scene, report, 6432)), ["denied", "allowed", "allowed", "open", "verified"]);
        let told = scene.room.top().await?;
        assert!(told.last().is_some_and(|last| last.first_line().contains(&short(&commit))), "{told:?}");
        Ok(())
    })
}

#[test]
fn a_person_with_a_kubeconfig_runs_it_from_outside_the_cluster() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        let commit = merged(scene).await?;
        let run = scene.run_from_outside().await?;
        let report = run.expect(0)?;
        assert_eq!(row(web_to_db(scene, report, 6432)), ["denied", "allowed", "allowed", "open", "verified"]);
        assert_eq!(report.kustomizations[0].applied, Some(e2e::flux::revision(&commit)));
        let told = scene.room.top().await?;
        assert!(told.last().is_some_and(|last| last.first_line().contains(&short(&commit))), "{told:?}");
        // The next run of the cluster knows of it.
        let before = told.len();
        assert_eq!(scene.verifier.run_for(&commit).await?.code, 0);
        assert_eq!(scene.room.top().await?.len(), before, "it is checked already");
        Ok(())
    })
}
