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

#[test]
fn the_customers_tree_applies_and_its_flows_are_as_the_tables_say() -> Result<()> {
    let setup = Setup {
        fixture: "plana",
        data_planes: &[DataPlane::Calico],
        alone: true,
        real_names: true,
        ..Setup::default()
    };
    scenario(setup, async |scene| {
        let pod = |namespace: &str, labels: &str| {
            let (namespace, labels) = (namespace.to_owned(), labels.to_owned());
            async move {
                let pods = e2e::objects::list(&scene.cluster.client, &e2e::objects::POD, &namespace, &labels).await?;
                let pod = pods.first().expect("it runs");
                let field = |pointer| e2e::objects::text(pod, pointer).to_owned();
                anyhow::Ok((field("/metadata/name"), field("/status/podIP")))
            }
        };
        let redis = pod("redis", "app=redis").await?.1;
        let events = pod("pulse-events", "app=pulse-events").await?.1;
        for (namespace, labels, address, port, open) in [
            ("plana-odoo-acme", "app=odoo", redis.as_str(), 6379, true),
            ("plana-odoo-acme", "app=odoo", "pg01.planapulse.com", 6432, true),
            ("plana-odoo-acme", "app=odoo", "nfs01.planapulse.com", 2049, true),
            ("plana-odoo-acme", "app=odoo", "api.anthropic.com", 443, true),
            ("plana-odoo-acme", "app=odoo", "kubernetes.default", 443, true),
            ("plana-odoo-acme", "app=odoo", &events, 3001, false),
            ("pulse-account", "app=portal", "pg01.planapulse.com", 5432, false),
            ("pulse-events", "app=pulse-events", &redis, 6379, false),
        ] {
            let name = pod(namespace, labels).await?.0;
            let command = ["exec", "-n", namespace, &name, "--", "nc", "-zvw2", address, &port.to_string()];
            let result = scene.cluster.kubectl(&command).await;
            assert_eq!(result.is_ok(), open, "{namespace} → {address}:{port}: {result:?}");
        }
        Ok(())
    })
}
