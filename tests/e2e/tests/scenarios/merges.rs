//! What a merge did to the flows: opened, opened halfway, closed, closed halfway, nothing.

use crate::world::{DataPlane, Setup, flux, scenario};
use anyhow::Result;

use crate::edits::{
    DB, SESSIONS_INGRESS, SHOP, STORE, WEB, append, assert_opens, close_sessions, cut, egress, open_both_sides, row,
    touch_readme, web_to_db,
};

fn everywhere() -> Setup {
    Setup { data_planes: DataPlane::ALL, ..Setup::default() }
}

#[test]
fn a_flow_opened_on_both_sides_is_verified() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        scene.wait_until(false, WEB, DB, 6432).await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&commit).await?;
        scene.wait_until(true, WEB, DB, 6432).await?;

        let report = run.expect(0)?;
        let flow = web_to_db(scene, report, 6432);
        assert_eq!(row(flow), ["denied", "allowed", "allowed", "open", "verified"]);
        assert_eq!(flow.via.as_deref(), Some("exec"));
        assert_eq!(report.trigger, "merge");
        let [kustomization] = report.kustomizations.as_slice() else { panic!("one Kustomization: {report}") };
        assert_eq!(kustomization.rendering, "proven");
        assert_eq!(kustomization.digest, Some(scene.flux.digest().await?));
        assert_eq!(kustomization.applied, Some(flux::revision(&commit)));

        let message = scene.room.last().await?;
        assert_opens(&message, "✅", &commit);
        assert!(message.first_line().contains("verified"), "{}", message.body);
        assert!(message.body.contains("6432"), "{}", message.body);
        assert_eq!((message.kind.as_str(), message.mentions.len()), ("m.notice", 0), "good news disturb nobody");
        assert!(message.html.contains(&format!("https://git.example.org/infra/commit/{commit}")), "{}", message.html);
        Ok(())
    })
}

#[test]
fn b_a_missing_side_is_named_and_pasting_its_entry_cures_it() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        append(scene, SHOP, &egress(6432))?;
        let red = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&red).await?;
        let report = run.expect(1)?;
        let flow = web_to_db(scene, report, 6432);
        assert_eq!((flow.why.as_str(), flow.result.as_str()), ("one-sided", "missing-entry"));
        let [entry] = flow.entries.as_slice() else { panic!("one entry to add: {flow:?}") };
        assert_eq!((entry.side.as_str(), entry.file.as_deref()), ("ingress", Some(STORE)));
        let line = entry.line.expect("the file exists, so there is a line");

        let message = scene.room.last().await?;
        assert_opens(&message, "❌", &red);
        assert_eq!(message.kind, "m.text");
        assert_eq!(message.mentions, std::slice::from_ref(&scene.room.reader));
        assert!(message.body.contains(SHOP), "the side that is open, with its place: {}", message.body);
        assert!(message.body.contains(STORE), "the file that lacks an entry: {}", message.body);
        for wanted in entry.entry.lines() {
            assert!(message.body.contains(wanted.trim()), "`{wanted}` is in the message: {}", message.body);
        }

        scene.git.insert_after(STORE, line, &entry.entry)?;
        let green = scene.merge("Add the entry that the room asked for").await?;
        let run = scene.verifier.run_for(&green).await?;
        let flow = web_to_db(scene, run.expect(0)?, 6432);
        assert_eq!((flow.observed.as_str(), flow.result.as_str()), ("open", "verified"));
        scene.wait_until(true, WEB, DB, 6432).await?;
        assert_opens(&scene.room.last().await?, "✅", &green);
        let thread = scene.room.thread(&message).await?;
        assert!(
            thread.iter().any(|reply| reply.body.contains("clears")),
            "the red one is cleared in its thread: {thread:?}"
        );
        Ok(())
    })
}

#[test]
fn c_a_closed_flow_is_seen_closed_with_full_controls() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        scene.wait_until(true, WEB, DB, 6379).await?;
        close_sessions(scene)?;
        let commit = scene.merge("Sessions moved out of the database").await?;
        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(0)?;
        let (denial, look) = match scene.data_plane()? {
            DataPlane::KubeRouter => ("refused", "reject"),
            DataPlane::Calico | DataPlane::KubeNetworkPolicies => ("timeout", "drop"),
        };
        let flow = web_to_db(scene, report, 6379);
        assert_eq!(row(flow), ["allowed", "denied", "denied", denial, "verified"]);
        let controls = flow.controls.as_ref().expect("a denied flow has controls");
        assert_eq!(controls.strength, "full", "{controls:?}");
        assert!(controls.target.is_some() && controls.source.is_some(), "{controls:?}");
        assert_eq!(report.denial.get("node-1").map(String::as_str), Some(look));
        assert_opens(&scene.room.last().await?, "✅", &commit);
        Ok(())
    })
}

#[test]
fn c_one_closed_side_of_an_open_flow_is_a_closure() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        cut(scene, STORE, SESSIONS_INGRESS)?;
        let run = scene.merge_and_run("No more sessions in the database").await?;
        let flow = web_to_db(scene, run.expect(0)?, 6379);
        assert_eq!((flow.why.as_str(), flow.result.as_str(), flow.live.as_str()), ("closure", "verified", "denied"));
        assert!(flow.entries.is_empty(), "nothing is missing: {:?}", flow.entries);
        let message = scene.room.last().await?;
        let thread = scene.room.thread(&message).await?;
        let said = |text: &str| thread.iter().chain([&message]).any(|one| one.body.contains(text));
        assert!(said("6379") && said(SHOP), "the side left open is named: {} {thread:?}", message.body);
        Ok(())
    })
}

#[test]
fn f_a_merge_without_policies_is_one_quiet_line() -> Result<()> {
    scenario(everywhere(), async |scene| {
        scene.first_run().await?;
        touch_readme(scene, "How we do things here\n")?;
        let commit = scene.merge("Write a README").await?;
        let run = scene.verifier.run_for(&commit).await?;
        let report = run.expect(0)?;
        assert!(report.flows.is_empty(), "nothing was probed: {report}");
        let message = scene.room.last().await?;
        assert_opens(&message, "✅", &commit);
        assert_eq!((message.body.lines().count(), message.kind.as_str()), (1, "m.notice"), "{}", message.body);
        Ok(())
    })
}

#[test]
fn n_going_back_to_an_older_revision_is_a_merge_of_its_own() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let newer = scene.merge("Let the shop use pgbouncer").await?;
        let run = scene.verifier.run_for(&newer).await?;
        assert_eq!(web_to_db(scene, run.expect(0)?, 6432).observed, "open");

        let older = &scene.first_commit;
        scene.git.force_back_to(older).await?;
        scene.flux.apply(older).await?;
        let run = scene.verifier.run_for(older).await?;
        let report = run.expect(0)?;
        assert_eq!(row(web_to_db(scene, report, 6432)), ["allowed", "denied", "denied", "timeout", "verified"]);
        let commits = [older, &newer, older];
        let messages = scene.room.top().await?;
        assert_eq!(messages.len(), commits.len(), "one message a run: {messages:?}");
        messages.iter().zip(commits).for_each(|(message, commit)| assert_opens(message, "✅", commit));
        Ok(())
    })
}

#[test]
fn n_a_rerun_by_hand_probes_the_last_merge_again() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.first_run().await?;
        open_both_sides(scene, 6432)?;
        let commit = scene.merge("Let the shop use pgbouncer").await?;
        scene.verifier.run_for(&commit).await?.expect(0)?;
        let before = scene.room.top().await?.len();

        let again = scene.verifier.run_for(&commit).await?;
        assert_eq!(again.code, 0, "a second run for the same revision has its verdict");
        assert_eq!(scene.room.top().await?.len(), before, "and says nothing");

        let run = scene.verifier.run_by_hand().await?;
        let report = run.expect(0)?;
        assert_eq!(report.trigger, "manual");
        assert_eq!(web_to_db(scene, report, 6432).observed, "open");
        assert_eq!(scene.room.top().await?.len(), before + 1, "a person gets an answer");
        Ok(())
    })
}
