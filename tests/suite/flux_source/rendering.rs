//! Renderings are Flux's own, byte for byte, and each field is found in Git.
//!
//! The digests here were computed by the packages of kustomize-controller 1.9.4 from the same files and specs.

use netpol_verify::model::Rendering;
use serde_json::{Value, json};

use crate::flux_source::support::{self, Flux, fixture, origin, packed, policy};

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
        format!("{PLAIN}/baseline.yaml:9:26")
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
    assert_eq!(origin(db, "/spec/egress/0/ports/0/port"), "policies/allow-db.yaml:20:11");
    assert_eq!(origin(db, "/spec/egress/0/to/0/ipBlock/cidr"), "policies/allow-db.yaml:18:13");
}

#[tokio::test]
async fn substituted_values_take_the_types_that_flux_gives_them() {
    let mut wrong = Vec::new();
    for (value, digest) in [
        ("prod", "sha256:716b552af7e59944b4e5b1a5704ad6b5143e159d0d4ff53ad8d6925e4e509340"),
        ("5432", "sha256:78c238500a9df217bdcf45f7928f866b50bd36b627bea3e4efe803a51142cf42"),
        ("yes", "sha256:bb6ff68acbf7c461f3933a5656e99157b26ee27a72b857f6c5955659a5ea8db1"),
        ("0755", "sha256:429e7ad4fe6310f65ea07ccc83d9c4eb31286ec7b91e476063eba98c45cdff00"),
        ("8_080", "sha256:fb30367f5b731a12528fdc4bf7e73903435af33caf342e4d5cd365c7ed013350"),
        ("1e3", "sha256:e22fb04aa422c186cbe8ed0447175cb43c2e96334189a88faa6a39464c6d61f6"),
        ("2020-01-01", "sha256:c3f0418c007f4e23623d763702113548e7bb71470cadd83d208353664da28b13"),
        ("0x1F", "sha256:32ac529bb9660771805f696050ed8155ebd7374218f7f371b591ebc75e11d294"),
        ("null", "sha256:36060a126f21ce3039cdbc84c03a865b624336e2e16e6c5ec04e3dd197394211"),
        ("~", "sha256:4d6f2b2fc1eaa1e0481f0f5349001e31ef38302d0f8f2d097654a89a53ddfbc8"),
        ("0.5", "sha256:f41651cbe42422e928718d402f657608a8889303dd3cd9d094d0846d00baaaf7"),
        ("-1", "sha256:ac1d72e940dabc68a945462ba36a315664ff2b12a513562d2c24999e001f10e9"),
        ("off", "sha256:6ca569aacb8eeef744e551a2387c65f8d930d893d848dbf5f655428dae9e379c"),
        ("12:30", "sha256:a7085cf62575c9de91f8b239d87a436a290d4b3e996aa42e5afe48575761ebae"),
        ("+5", "sha256:c17fd2f475f07b1eac7d5c777f8e8a9eeca87c602d63bc49ea78ae5933c61884"),
        ("0o17", "sha256:5b70787e66d773b377bae7bb72c3eb48c6c94889be9c8529122c11739b1db359"),
        ("1.0", "sha256:76ebafa63d330e8b73cdf8a819e2c25df8fc46ac680192db60e823b8d9d5f69c"),
        ("", "sha256:3ca9100e2853dd3f1c2af5d29daafb502bd20d16e67f0cb2073d08f0a6557207"),
        ("# x", "sha256:91ed149ab6198c1f057f4ef1eac468857c47cb6608e580a4b975bc20ed512600"),
        ("[1, 2]", "sha256:e8358fa0e685ba61e89bc3f7ffb8ce8b7e5c346cb76bb22347b16cc37cf7283d"),
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
    flux.options.kustomize = support::kustomize();
    flux.options.render_limit = std::time::Duration::ZERO;
    let fault = flux.fault().await;
    assert!(fault.contains("did not finish within 0 s"), "{fault}");
}
