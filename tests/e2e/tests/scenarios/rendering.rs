//! However the policies are written in Git, the rendering is proven and each place is the right one.

use crate::world::{Scene, Setup, report::Origin, scenario};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::edits::{DB, WEB, assert_place};

fn variant(folder: &'static str, kustomization: Value) -> Setup {
    Setup { repository: Some(folder), kustomization, ..Setup::default() }
}

/// The first run proves the digest; then somebody edits port 5432 of the store's ingress by hand, and the report says
/// where Git has it.
async fn place_of_the_edited_port(scene: &Scene, policy: &str) -> Result<Origin> {
    let run = scene.first_run().await?;
    scene.wait_until(true, WEB, DB, 5432).await?;
    let [kustomization] = run.report()?.kustomizations.as_slice() else { bail!("one Kustomization") };
    assert_eq!((kustomization.rendering.as_str(), &kustomization.reason), ("proven", &None));
    assert_eq!(kustomization.digest, Some(scene.flux.digest().await?));

    let store = scene.namespace("store");
    scene.edit_policy("store", policy, "5432", "5433").await?;
    let run = scene.verifier.run_scheduled().await?;
    let report = run.expect(1)?;
    let drift = report.drift(&format!("{store}/{policy}")).context("the edited policy")?;
    assert_eq!(drift.class, "changed");
    drift.declared.clone().context("Git has it")
}

#[test]
fn a_plain_folder_without_kustomization_yaml() -> Result<()> {
    scenario(variant("e2e/fixtures/plain", json!({"path": "./infra/policies"})), async |scene| {
        let place = place_of_the_edited_port(scene, "allow-ingress").await?;
        let file = "infra/policies/store/ingress.yml";
        assert_place(Some(&place), file, scene.git.line_of(file, "5432")?);
        Ok(())
    })
}

#[test]
fn an_overlay_with_patches() -> Result<()> {
    scenario(variant("e2e/fixtures/overlay", json!({"path": "./infra/overlays/prod"})), async |scene| {
        let place = place_of_the_edited_port(scene, "allow-ingress").await?;
        assert_eq!((place.file.as_str(), place.line), ("infra/base/store.yaml", None), "the port comes from a patch");
        assert_eq!(place.via.as_deref(), Some("overlay"));
        Ok(())
    })
}

#[test]
fn a_field_that_no_patch_touches_keeps_its_line() -> Result<()> {
    scenario(variant("e2e/fixtures/overlay", json!({"path": "./infra/overlays/prod"})), async |scene| {
        scene.first_run().await?;
        let store = scene.namespace("store");
        scene.edit_policy("store", "allow-ingress", "6379", "6380").await?;
        let run = scene.verifier.run_scheduled().await?;
        let report = run.expect(1)?;
        let place = report.drift(&format!("{store}/allow-ingress")).and_then(|drift| drift.declared.clone());
        let place = place.expect("Git has it");
        let file = "infra/base/store.yaml";
        assert_place(Some(&place), file, scene.git.line_of(file, "6379")?);
        Ok(())
    })
}

#[test]
fn a_target_namespace_and_common_metadata() -> Result<()> {
    let spec = json!({
        "path": "./infra/store", "targetNamespace": "xx-store", "commonMetadata": {"labels": {"owner": "storekeepers"}},
    });
    let mut setup = variant("e2e/fixtures/target-namespace", spec);
    setup.config = json!({"productNamespaces": {"names": ["xx-store"]}, "probeNamespaces": ["xx-shop"]});
    scenario(setup, async |scene| {
        let place = place_of_the_edited_port(scene, "allow-ingress").await?;
        let file = "infra/store/policies.yaml";
        assert_place(Some(&place), file, scene.git.line_of(file, "5432")?);
        Ok(())
    })
}

#[test]
fn substitution_after_the_build() -> Result<()> {
    let substitute = json!({"store": "xx-store", "shop": "xx-shop", "postgres": "5432"});
    let spec = json!({"path": "./infra/policies", "postBuild": {"substitute": substitute}});
    scenario(variant("e2e/fixtures/substitution", spec), async |scene| {
        let place = place_of_the_edited_port(scene, "allow-ingress").await?;
        let file = "infra/policies/store.yaml";
        assert_place(Some(&place), file, scene.git.line_of(file, "port: ${postgres}")?);
        Ok(())
    })
}
