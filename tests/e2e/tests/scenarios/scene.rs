//! The scenes themselves are sound: what the other scenarios take for granted is so, seen without the verifier.

use anyhow::Result;
use e2e::{DataPlane, Setup, scenario};
use serde_json::json;

use crate::edits::{DB, STORE, WEB, close_sessions, open_both_sides};

fn everywhere() -> Setup {
    Setup { data_planes: DataPlane::ALL, ..Setup::default() }
}

#[test]
fn flux_and_the_data_plane_do_what_git_says() -> Result<()> {
    scenario(everywhere(), async |scene| {
        for (open, port) in [(true, 5432), (true, 6379), (false, 6432)] {
            scene.wait_until(open, WEB, DB, port).await?;
        }
        scene.wait_until(false, DB, WEB, 8080).await?;
        open_both_sides(scene, 6432)?;
        close_sessions(scene)?;
        let commit = scene.merge("pgbouncer in, sessions out").await?;
        for (open, port) in [(true, 5432), (false, 6379), (true, 6432)] {
            scene.wait_until(open, WEB, DB, port).await?;
        }
        assert_ne!(commit, scene.first_commit);
        scene.git.force_back_to(&scene.first_commit).await?;
        scene.flux.apply(&scene.first_commit).await?;
        scene.wait_until(false, WEB, DB, 6432).await?;
        assert!(scene.room.messages().await?.is_empty(), "nobody has spoken yet");
        Ok(())
    })
}

#[test]
fn flux_refuses_what_the_api_refuses() -> Result<()> {
    scenario(Setup::default(), async |scene| {
        scene.git.replace(STORE, "port: 6379", "port: 70000")?;
        let commit = scene.git.merge("A port that is none").await?;
        let reason = scene.flux.fail(&commit).await?;
        assert!(reason.contains("is invalid"), "{reason}");
        scene.wait_until(true, WEB, DB, 6379).await
    })
}

#[test]
fn every_variant_of_the_repository_applies() -> Result<()> {
    let spec = |path: &str| json!({"path": path});
    let substitute = json!({"store": "xx-store", "shop": "xx-shop", "postgres": "5432"});
    for (folder, kustomization) in [
        ("e2e/fixtures/plain", spec("./infra/policies")),
        ("e2e/fixtures/overlay", spec("./infra/overlays/prod")),
        ("e2e/fixtures/target-namespace", json!({"path": "./infra/store", "targetNamespace": "xx-store"})),
        ("e2e/fixtures/substitution", json!({"path": "./infra/policies", "postBuild": {"substitute": substitute}})),
    ] {
        let setup = Setup { repository: Some(folder), kustomization, ..Setup::default() };
        scenario(setup, async |scene| {
            scene.wait_until(true, WEB, DB, 5432).await?;
            scene.wait_until(false, WEB, DB, 6432).await
        })?;
    }
    Ok(())
}
