//! Renderings are Flux's own, byte for byte, and each field is found in Git.
//!
//! The digests here were computed by the packages of kustomize-controller 1.9.4 from the same files and specs.

#[path = "flux_support/mod.rs"]
mod flux_support;

use flux_support::{Flux, fixture, origin, packed, policy};
use netpol_verify::model::Rendering;
use serde_json::{Value, json};

const PLAIN: &str = "infra/k8s/network-policies";

async fn flux(name: &str, spec: Value, digest: &str) -> Flux {
    Flux::new(fixture(name), spec, Some(digest)).await
}

#[tokio::test]
async fn a_plain_folder_is_proven_and_its_fields_are_found() {
    let digest = "sha256:3e3e9adbf877eadd79b331160bf424824db4c67355211509ab1de1d3ade01e84";
    let declared = flux("plain", json!({"path": format!("./{PLAIN}")}), digest).await.proven().await;
    let names: Vec<String> = declared.policies.iter().map(|policy| policy.id.short()).collect();
    assert_eq!(names, ["team-a/allow-db", "team-a/default-deny-all", "default/from-list"]);
    assert_eq!(declared.namespaces, ["team-a"]);
    let db = policy(&declared, "allow-db");
    let file = format!("{PLAIN}/b/allow-db.yml");
    assert_eq!(db.origins.document.as_ref().unwrap().to_string(), format!("{file}:1:1"));
    for (pointer, place) in [
        ("/spec/podSelector", "5:3"),
        ("/spec/policyTypes", "7:3"),
        ("/spec/egress/0", "9:7"),
        ("/spec/egress/0/to/0", "10:11"),
        ("/spec/egress/0/to/1/ipBlock/except/0", "13:48"),
        ("/spec/egress/0/ports/0/port", "15:11"),
        ("/spec/egress/1/to/0/podSelector/matchLabels", "18:13"),
        ("/spec/egress/1/ports/0/protocol", "20:24"),
    ] {
        assert_eq!(origin(db, pointer), format!("{file}:{place}"), "{pointer}");
    }
    assert_eq!(
        origin(policy(&declared, "default-deny-all"), "/spec/policyTypes/1"),
        format!("{PLAIN}/baseline.yaml:9:27")
    );
    assert_eq!(origin(policy(&declared, "from-list"), "/spec/ingress/0/from/0"), format!("{PLAIN}/list.yaml:10:18"));
}

#[tokio::test]
async fn a_changed_artifact_is_not_proven() {
    // The control of every other test here: the digest of other files.
    let digest = "sha256:6da29a8ebe9741f2f061bc4f21bdf5fe43a017d8d43cc96316177af1f2f38098";
    let reason = flux("plain", json!({"path": PLAIN}), digest).await.unproven().await;
    assert!(reason.contains(digest), "{reason}");
    let reason = Flux::new(fixture("plain"), json!({"path": PLAIN}), None).await.unproven().await;
    assert!(reason.contains("no digest"), "{reason}");
}

#[tokio::test]
async fn what_the_flux_spec_changes_is_proven_and_told_as_an_overlay() {
    let patch = "- op: add\n  path: /spec/egress/-\n  value: {ports: [{port: 53, protocol: UDP}]}\n";
    let spec = json!({
        "path": format!("./{PLAIN}"), "targetNamespace": "team-x", "namePrefix": "p-", "nameSuffix": "-s",
        "commonMetadata": {"labels": {"team": "net"}},
        "patches": [{"patch": patch, "target": {"kind": "NetworkPolicy", "name": "allow-db"}}],
    });
    let digest = "sha256:dd3ffa8cd6320715d2c3a3d2764d895a984e6439084cd7c1403c4e2d1931653d";
    let declared = flux("plain", spec, digest).await.proven().await;
    let names: Vec<String> = declared.policies.iter().map(|policy| policy.id.short()).collect();
    assert_eq!(names, ["team-x/p-allow-db-s", "team-x/p-default-deny-all-s", "team-x/p-from-list-s"]);
    assert_eq!(declared.namespaces, ["team-x"]);
    for policy in &declared.policies {
        assert_eq!(policy.object["metadata"]["labels"], json!({"team": "net"}), "{}", policy.id);
    }
    let db = policy(&declared, "p-allow-db-s");
    let file = format!("{PLAIN}/b/allow-db.yml");
    assert_eq!(origin(db, "/spec/egress/1"), format!("{file}:16:7"));
    assert_eq!(origin(db, "/spec/egress/2"), format!("{file} (changed by an overlay)"));
    assert_eq!(origin(db, "/spec/egress/2/ports/0/port"), format!("{file} (changed by an overlay)"));
}

#[tokio::test]
async fn an_overlay_is_proven_and_only_what_it_changes_loses_its_line() {
    let digest = "sha256:6da29a8ebe9741f2f061bc4f21bdf5fe43a017d8d43cc96316177af1f2f38098";
    let declared = flux("overlay", json!({"path": "overlay"}), digest).await.proven().await;
    let web = policy(&declared, "allow-web");
    let file = "base/team-a/policies.yaml";
    assert_eq!(origin(web, "/spec/ingress/0"), format!("{file}:12:7"));
    assert_eq!(origin(web, "/spec/ingress/1/from"), format!("{file}:16:7"));
    for changed in ["/spec/ingress/1", "/spec/ingress/1/ports/0", "/spec/ingress/1/ports/0/port"] {
        assert_eq!(origin(web, changed), format!("{file} (changed by an overlay)"), "{changed}");
    }
    assert_eq!(origin(policy(&declared, "allow-nothing"), "/spec/podSelector"), format!("{file}:29:3"));
    assert_eq!(origin(policy(&declared, "allow-dns"), "/spec/egress/0/ports/0"), "team-b/network-policy.yaml:12:11");
}

#[tokio::test]
async fn origin_annotations_of_the_spec_itself_are_part_of_the_digest() {
    let digest = "sha256:eb652acb515876cb9843c564b7e6d71ebff663ace2667f3adf2245f40e5f6159";
    let spec = json!({"path": "./overlay", "buildMetadata": ["originAnnotations"]});
    flux("overlay", spec, digest).await.proven().await;
}

#[tokio::test]
async fn a_substituted_rendering_is_proven_and_its_fields_keep_their_lines() {
    let spec = json!({"path": "policies", "postBuild": {"substitute": {"env": "prod", "port": "5432"}}});
    let digest = "sha256:9fcfb18d09b5931c259878c2dc3e5fef213b4b89a51e23903fcf7bcdc8fb47ce";
    let declared = flux("postbuild", spec, digest).await.proven().await;
    let db = policy(&declared, "allow-db-prod");
    assert_eq!(db.object.pointer("/spec/egress/0/ports/0/port"), Some(&json!(5432)));
    assert_eq!(origin(db, "/spec/egress/0/ports/0/port"), "policies/allow-db.yaml:22:11");
    assert_eq!(origin(db, "/spec/egress/0/to/0/ipBlock/cidr"), "policies/allow-db.yaml:20:13");
}

#[tokio::test]
async fn substituted_values_take_the_types_that_flux_gives_them() {
    let mut wrong = Vec::new();
    for (value, digest) in [
        ("prod", "sha256:215960b7373838a59dadc4745d1765657b6b2b350e9511cec916f521af9abf26"),
        ("5432", "sha256:70efaacf1c21f60ad95ed05529ada21bc4a61ef0b9a6023faff0a18943a67e95"),
        ("yes", "sha256:af1d7883505288fa07bcfc4a69dc9bcda70d7871bd25adfc715b76921c1372bb"),
        ("0755", "sha256:387a4570a29d731149b1d2dc8b90519aeca1d7f07b6c2ea30d4f05cd36424427"),
        ("8_080", "sha256:86a756dbef5b2f4b8286df0fe92f5457fc37d74da5c206786583ba1ca0cf74d5"),
        ("1e3", "sha256:a275db1124a14515fe513ad906f208f293553d66d8b486c2a98ba1a31eb2d6e1"),
        ("2020-01-01", "sha256:f7bbc533f267c71ac5c649b977c3dc049b627bea642ccfb9bcac773669314062"),
        ("0x1F", "sha256:55e90aac2c217ca7ae3257dccf2b412e30ae51ede0c4d3e572f17990231d1896"),
        ("null", "sha256:63a9e39ccb9dc67e95bddf6384ce854e45ffc9a44a2e77b979d3284aaebab41c"),
        ("~", "sha256:fefb9f158b4bf7e3b47bf1b6ff2c80fc4c420f718db111c79f1d8582b0662c26"),
        ("0.5", "sha256:a7bdf7f9bfb9bea943845002497e2472c66de1629d92fb754c0c69f49f806953"),
        ("-1", "sha256:d5e3f932bf629dacca5d8b7a02dc7beb128dc173fe3c828f0e9f3ffa5c54f115"),
        ("off", "sha256:c667738d3757c8e9a30e9842d3d19ef24be211e42eaeb0a28926eb7ac6af6265"),
        ("12:30", "sha256:ba4db28ad03173ac39749555552730bd275a8b308db9832fbc379586e7f19f05"),
        ("+5", "sha256:0069cafd01f697373f0599932264c8ca3c351d6c4dd28dda03721fe0a504aa9b"),
        ("0o17", "sha256:8e31804633ffe02c29a92ace9b398f682859f4e37a849f6c3971bb43c319bee9"),
        ("1.0", "sha256:f62a43c415a5b18ab82d1ae35dfdfb8318cac9cf3ffa4526b93411d22ffc89ab"),
        ("", "sha256:e4747266e44a4d169942153233bce392924cf74ea255bd4af01daa06a5c9e177"),
        ("# x", "sha256:02ca385ed7458f57824746cc918f5de59bdf6b573c0b8e3d3cf8d7a227dcb572"),
        ("[1, 2]", "sha256:e1fde3d779d176a9b9d84cee2f69b374bace03b1ec967e8624b88774474b480a"),
        ("12345678901234567890", "sha256:0c5ceec4f4f489ea0271ef4c90419d2b70357ab67aa90ed7b28966d53b89e16e"),
    ] {
        let spec = json!({"path": "policies", "postBuild": {"substitute": {"value": value}}});
        let flux = flux("types", spec, digest).await;
        flux.mount().await;
        let rendering = flux.declared().await.unwrap().rendering;
        if rendering != Rendering::Proven {
            wrong.push(format!("{value}: {rendering:?}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test]
async fn values_of_named_configmaps_are_read_and_nothing_else() {
    let digest = "sha256:9fcfb18d09b5931c259878c2dc3e5fef213b4b89a51e23903fcf7bcdc8fb47ce";
    let from = |kind: &str| {
        json!({"path": "policies", "postBuild": {
            "substitute": {"env": "prod"}, "substituteFrom": [{"kind": kind, "name": "cluster-vars"}],
        }})
    };
    let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cluster-vars"}, "data": {"port": "5432\n", "env": "x"}});
    let at = "/api/v1/namespaces/flux-system/configmaps/cluster-vars";

    let mut named = flux("postbuild", from("ConfigMap"), digest).await;
    named.options.substitute_from = vec!["cluster-vars".to_owned()];
    named.object(at, data.clone()).await;
    named.proven().await;

    let unnamed = flux("postbuild", from("ConfigMap"), digest).await;
    unnamed.object(at, data).await;
    let reason = unnamed.unproven().await;
    assert!(reason.contains("names the ConfigMap `cluster-vars`"), "{reason}");

    let mut secret = flux("postbuild", from("Secret"), digest).await;
    secret.options.substitute_from = vec!["cluster-vars".to_owned()];
    let reason = secret.unproven().await;
    assert!(reason.contains("names the Secret `cluster-vars`"), "{reason}");
    assert!(reason.contains("variable `port` is not set"), "{reason}");
    let asked: Vec<_> = secret.server.received_requests().await.unwrap();
    assert!(asked.iter().all(|request| !request.url.path().contains("secrets")));
}

#[tokio::test]
async fn sops_is_a_reason_only_where_the_digest_differs() {
    let spec = json!({"path": PLAIN, "decryption": {"provider": "sops"}});
    let digest = "sha256:3e3e9adbf877eadd79b331160bf424824db4c67355211509ab1de1d3ade01e84";
    flux("plain", spec.clone(), digest).await.proven().await;
    let reason = flux("plain", spec, &format!("sha256:{}", "0".repeat(64))).await.unproven().await;
    assert!(reason.contains("SOPS"), "{reason}");
}

#[tokio::test]
async fn a_folder_without_manifests_renders_to_nothing() {
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let declared = flux("empty", json!({"path": "notes"}), digest).await.proven().await;
    assert!(declared.policies.is_empty());
}

#[tokio::test]
async fn the_allow_list_is_taken_from_the_artifact() {
    let digest = "sha256:3e3e9adbf877eadd79b331160bf424824db4c67355211509ab1de1d3ade01e84";
    let mut flux = flux("plain", json!({"path": PLAIN}), digest).await;
    flux.options.allowlist = Some(format!("./{PLAIN}/notes.md"));
    assert_eq!(flux.proven().await.allowlist.as_deref(), Some("not a manifest\n"));
    flux.options.allowlist = Some("gone.yaml".to_owned());
    assert_eq!(flux.declared().await.unwrap().allowlist, None);
}

#[tokio::test]
async fn kustomize_tells_what_is_wrong_without_paths_of_this_machine() {
    let files: [(&str, &[u8]); 1] = [("p/kustomization.yaml", b"resources: [gone.yaml]\n")];
    let fault = Flux::new(packed(files), json!({"path": "p"}), None).await.fault().await;
    assert!(fault.starts_with("kustomize build failed: "), "{fault}");
    assert!(fault.contains("gone.yaml"), "{fault}");
    assert!(!fault.contains("netpol-verify-") && !fault.contains(std::env::temp_dir().to_str().unwrap()), "{fault}");
}

#[tokio::test]
async fn a_remote_base_fails_at_once() {
    let files: [(&str, &[u8]); 1] = [("kustomization.yaml", b"resources: ['https://192.0.2.1/x.yaml']\n")];
    let mut flux = Flux::new(packed(files), json!({}), None).await;
    flux.options.render_limit = std::time::Duration::from_secs(30);
    let fault = flux.fault().await;
    assert!(fault.starts_with("kustomize build failed: "), "{fault}");
}

#[tokio::test]
async fn a_slow_or_absent_renderer_is_told() {
    let mut flux = Flux::new(fixture("plain"), json!({"path": PLAIN}), None).await;
    flux.options.kustomize = "/nowhere/kustomize".into();
    let fault = flux.fault().await;
    assert!(fault.contains("could not run `/nowhere/kustomize`"), "{fault}");
    flux.options.kustomize = flux_support::kustomize();
    flux.options.render_limit = std::time::Duration::ZERO;
    let fault = flux.fault().await;
    assert!(fault.contains("did not finish within 0 s"), "{fault}");
}
