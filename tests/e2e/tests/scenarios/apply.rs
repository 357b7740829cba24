//! Flux did not apply a revision: said, with its reason, and nothing is called verified.

use crate::world::{Setup, scenario, seconds};
use anyhow::Result;
use serde_json::json;

use crate::edits::{STORE, assert_opens, open_both_sides, short, web_to_db};

#[test]
fn e_a_policy_that_the_api_refuses_is_not_applied() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        scene.git.replace(STORE, "port: 6432", "port: 70000")?;
        let refused = scene.git.merge("Let the shop use pgbouncer").await?;
        let reason = scene.flux.fail(&refused).await?;
        let run = scene.verifier.run_for(&refused).await?;
        let report = run.expect(3)?;
        assert_eq!(report.verdict, "not-applied");
        assert!(report.flows.is_empty(), "nothing is probed: {report}");
        let message = scene.room.last().await?;
        assert_opens(&message, "❌", &refused);
        assert!(message.body.contains("not applied"), "{}", message.body);
        assert!(
            reason.contains("is invalid") && message.body.contains("is invalid"),
            "Flux's reason: {}",
            message.body
        );
        assert!(message.body.contains(&short(&scene.first_commit)), "what is still live: {}", message.body);
        assert_eq!(message.mentions, std::slice::from_ref(&scene.room.reader));

        scene.git.replace(STORE, "port: 70000", "port: 6432")?;
        let run = scene.merge_and_run("A port that exists").await?;
        assert_eq!(
            web_to_db(scene, run.expect(0)?, 6432).observed,
            "open",
            "compared with the last state that was checked"
        );
        Ok(())
    })
}

#[test]
fn e_a_file_that_is_no_yaml_is_not_applied() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.git.write(STORE, "apiVersion: [\n")?;
        let broken = scene.git.merge("A slip of the hand").await?;
        scene.flux.fail(&broken).await?;
        let run = scene.verifier.run_for(&broken).await?;
        assert_eq!(run.expect(3)?.verdict, "not-applied");
        assert_opens(&scene.room.last().await?, "❌", &broken);
        Ok(())
    })
}

#[test]
fn e_a_suspended_kustomization_is_said_and_never_waited_for_in_silence() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        scene.flux.suspend(true).await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.git.merge("Let the shop use pgbouncer").await?;
        scene.flux.fetch().await?;
        scene.verifier.configure(&json!({"flux": {"wait": "15s", "stuck": "5s"}})).await?;
        let started = std::time::Instant::now();
        let run = scene.verifier.run_for(&commit).await?;
        run.expect(3)?;
        assert!(started.elapsed() < seconds(60), "the wait is bounded");
        let message = scene.room.last().await?;
        assert!(message.body.contains("suspend"), "{}", message.body);

        scene.flux.suspend(false).await?;
        scene.flux.apply(&commit).await?;
        let run = scene.verifier.run_for(&commit).await?;
        assert_eq!(web_to_db(scene, run.expect(0)?, 6432).observed, "open");
        Ok(())
    })
}
