//! Fetching: what is retried, what is refused, and that nothing else than the applied revision is taken.

use netpol_verify::{
    flux::ArtifactLimits,
    model::{KustomizationRef, Revision},
    verify::seams::Source,
};
use serde_json::json;

use crate::flux_source::support::{Flux, REVISION, fixture, packed, sha256};

const PLAIN: &str = "infra/k8s/network-policies";
const DIGEST: &str = "sha256:3e3e9adbf877eadd79b331160bf424824db4c67355211509ab1de1d3ade01e84";

async fn plain() -> Flux {
    Flux::new(fixture("plain"), json!({"path": PLAIN}), Some(DIGEST)).await
}

async fn downloads(flux: &Flux) -> usize {
    let requests = flux.server.received_requests().await.unwrap();
    requests.iter().filter(|request| request.url.path().ends_with(".tar.gz")).count()
}

#[tokio::test]
async fn the_status_is_read_with_its_digest() {
    let flux = plain().await;
    flux.mount().await;
    let status = flux.status().await;
    assert_eq!(status.applied, Some(Revision(REVISION.to_owned())));
    assert_eq!(status.digest.as_deref(), Some(DIGEST));
    assert_eq!(status.not_applied, None);
    let absent = KustomizationRef { namespace: "flux-system".to_owned(), name: "absent".to_owned() };
    assert_eq!(flux.source().status(&absent).await.unwrap(), None);
}

#[tokio::test]
async fn a_server_that_is_down_for_a_moment_is_tried_again() {
    let flux = plain().await;
    flux.artifact_answers(503, 3).await;
    flux.proven().await;
    assert_eq!(downloads(&flux).await, 4);
}

#[tokio::test]
async fn a_server_that_stays_down_ends_as_a_fault() {
    let flux = plain().await;
    flux.artifact_answers(503, 100).await;
    let fault = flux.fault().await;
    assert!(fault.contains("answered 503"), "{fault}");
    assert_eq!(downloads(&flux).await, 4, "one and three more");
}

#[tokio::test]
async fn an_artifact_that_is_gone_is_not_asked_for_again() {
    let flux = plain().await;
    flux.artifact_answers(404, 100).await;
    let fault = flux.fault().await;
    assert!(fault.contains("answered 404"), "{fault}");
    assert_eq!(downloads(&flux).await, 1);
}

#[tokio::test]
async fn a_source_that_is_ahead_is_lag_and_nothing_is_fetched() {
    let mut flux = plain().await;
    flux.served = "main@sha1:0000000000000000000000000000000000000000".to_owned();
    let fault = flux.fault().await;
    assert!(fault.starts_with("lag: ") && fault.contains(&flux.served) && fault.contains(REVISION), "{fault}");
    assert_eq!(downloads(&flux).await, 0);
    assert_eq!(flux.status().await.not_applied.unwrap().reason, "Lag");
}

#[tokio::test]
async fn bytes_that_are_not_those_of_the_digest_are_refused() {
    let mut flux = plain().await;
    flux.artifact_digest = Some(sha256(b"something else"));
    let fault = flux.fault().await;
    assert!(fault.contains("does not have its digest"), "{fault}");
    let mut flux = plain().await;
    flux.artifact_digest = Some("blake3:00".to_owned());
    let fault = flux.fault().await;
    assert!(fault.contains("not of a supported form"), "{fault}");
}

#[tokio::test]
async fn an_artifact_beyond_a_limit_is_refused() {
    for (limits, word) in [
        (ArtifactLimits { download: 100, ..ArtifactLimits::default() }, "larger than 100 bytes"),
        (ArtifactLimits { unpacked: 1000, ..ArtifactLimits::default() }, "unpacks to more than 1000 bytes"),
        (ArtifactLimits { entries: 2, ..ArtifactLimits::default() }, "more than 2 entries"),
    ] {
        let mut flux = plain().await;
        flux.options.limits = limits;
        let fault = flux.fault().await;
        assert!(fault.contains(word), "{fault}");
    }
}

#[tokio::test]
async fn a_download_that_is_no_archive_is_refused() {
    let flux = Flux::new(b"<html>".to_vec(), json!({"path": PLAIN}), Some(DIGEST)).await;
    let fault = flux.fault().await;
    assert!(fault.contains("not a whole tar.gz"), "{fault}");
}

#[tokio::test]
async fn a_path_that_is_not_in_the_artifact_is_named() {
    let flux = Flux::new(packed([("a.yaml", b"".as_slice())]), json!({"path": "./infra"}), None).await;
    let fault = flux.fault().await;
    assert!(fault.contains("`spec.path` `./infra` is not in the artifact"), "{fault}");
}
