//! The way to an artifact from outside the cluster: through the API server to a pod behind source-controller's Service,
//! as `kubectl port-forward svc/source-controller` goes.

use std::{fmt::Display, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Pod, Service},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{Api, Client, api::ListParams};
use reqwest::Url;

use super::FluxFault;

/// As long as a direct download may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A Service of the cluster and a port of it, as the cluster's DNS names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    namespace: String,
    name: String,
    port: u16,
}

impl Named {
    /// `http://NAME.NAMESPACE.svc[.…]`; `None` for another host or for https, whose certificate is not checked here.
    pub(super) fn of(url: &Url) -> Option<Self> {
        let mut labels = url.host_str().filter(|_| url.scheme() == "http")?.split('.');
        let (name, namespace, svc) = (labels.next()?, labels.next()?, labels.next()?);
        let port = url.port_or_known_default()?;
        (svc == "svc").then(|| Self { namespace: namespace.to_owned(), name: name.to_owned(), port })
    }

    fn fault(&self, source: impl Display) -> FluxFault {
        let service = format!("{}/{}", self.namespace, self.name);
        FluxFault::Forward { service, why: source.to_string(), passing: false }
    }

    fn passing(&self, source: impl Display) -> FluxFault {
        let service = format!("{}/{}", self.namespace, self.name);
        FluxFault::Forward { service, why: source.to_string(), passing: true }
    }

    /// A ready pod behind the Service, and the port that it listens at.
    async fn pod(&self, client: &Client) -> Result<(String, u16), FluxFault> {
        let services: Api<Service> = Api::namespaced(client.clone(), &self.namespace);
        let spec = services.get(&self.name).await.map_err(|error| self.fault(error))?.spec.unwrap_or_default();
        let port = spec.ports.iter().flatten().find(|port| port.port == i32::from(self.port));
        let port = port.ok_or_else(|| self.fault(format!("the Service has no port {}", self.port)))?;
        let target = port.target_port.clone().unwrap_or(IntOrString::Int(port.port));
        let labels = spec.selector.unwrap_or_default();
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        if labels.is_empty() {
            return Err(self.fault("the Service selects no pods"));
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await;
        let pods = pods.map_err(|error| self.fault(error))?;
        let ready = pods.items.iter().find(|pod| is_ready(pod));
        let ready = ready.ok_or_else(|| self.passing("no pod behind the Service is ready"))?;
        let number = number(ready, &target).ok_or_else(|| self.fault("the pod does not have the Service's port"))?;
        Ok((ready.metadata.name.clone().unwrap_or_default(), number))
    }

    /// The bytes at `url`, at most `limit` of them.
    async fn get(&self, client: &Client, url: &Url, limit: u64) -> Result<Vec<u8>, FluxFault> {
        let (pod, port) = self.pod(client).await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace);
        let forwarded = pods.portforward(&pod, &[port]).await;
        let mut forwarded = forwarded.map_err(|error| self.fault(format!("port-forward to pod {pod}: {error}")))?;
        let stream = forwarded.take_stream(port).ok_or_else(|| self.fault("port-forward gave no stream"))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.passing(error))?;
        let connection = tokio::spawn(connection);
        let bytes = self.exchange(&mut sender, url, limit).await;
        connection.abort();
        forwarded.abort();
        bytes
    }

    async fn exchange(
        &self,
        sender: &mut http1::SendRequest<Empty<Bytes>>,
        url: &Url,
        limit: u64,
    ) -> Result<Vec<u8>, FluxFault> {
        let host = url.host_str().unwrap_or_default();
        let request = Request::get(url.path()).header(HOST, host).body(Empty::new());
        let request = request.map_err(|error| self.fault(error))?;
        let mut answer = sender.send_request(request).await.map_err(|error| self.passing(error))?;
        if !answer.status().is_success() {
            return Err(FluxFault::Http { url: url.to_string(), status: answer.status().as_u16() });
        }
        let mut bytes = Vec::new();
        while let Some(frame) = answer.body_mut().frame().await {
            let Ok(data) = frame.map_err(|error| self.passing(error))?.into_data() else { continue };
            if (bytes.len() + data.len()) as u64 > limit {
                return Err(FluxFault::Large { url: url.to_string(), limit });
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_ending = pod.metadata.deletion_timestamp.is_some();
    !is_ending && conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

/// A Service's target port, in one of its pods.
fn number(pod: &Pod, target: &IntOrString) -> Option<u16> {
    let name = match target {
        IntOrString::Int(number) => return u16::try_from(*number).ok(),
        IntOrString::String(name) => name,
    };
    let containers = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_ref() == Some(name))?;
    u16::try_from(port.container_port).ok()
}

/// Fetches `url` from the Service that it names.
///
/// # Errors
/// No pod of it is ready, the account may not reach it (`create` on `pods/portforward`), it answers with an error, or
/// with more than `limit` bytes.
pub(super) async fn download(client: &Client, named: &Named, url: &Url, limit: u64) -> Result<Vec<u8>, FluxFault> {
    let slow = |_| named.passing(format!("no whole answer within {} s", LIMIT.as_secs()));
    tokio::time::timeout(LIMIT, named.get(client, url, limit)).await.map_err(slow)?
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_is_named_by_the_clusters_dns_and_by_nothing_else() {
        let of = |url: &str| Named::of(&Url::parse(url).unwrap());
        let wanted = |port| Some(Named { namespace: "flux-system".into(), name: "source-controller".into(), port });
        assert_eq!(
            of("http://source-controller.flux-system.svc.cluster.local./gitrepository/a/b/c.tar.gz"),
            wanted(80)
        );
        assert_eq!(of("http://source-controller.flux-system.svc/a"), wanted(80));
        assert_eq!(of("http://source-controller.flux-system.svc.example:9090/a"), wanted(9090));
        for other in ["http://10.0.0.1/a", "http://storage.example.com/a", "https://a.b.svc/a", "http://a.b.svcs/a"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_named_target_port_is_the_containers() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a"}, {"name": "manager", "ports": [{"name": "http", "containerPort": 9090}]}]}}))
        .unwrap();
        assert_eq!(number(&pod, &IntOrString::String("http".into())), Some(9090));
        assert_eq!(number(&pod, &IntOrString::String("https".into())), None);
        assert_eq!(number(&pod, &IntOrString::Int(9091)), Some(9091));
    }

    #[test]
    fn a_pod_that_ends_is_not_ready() {
        let pod = |ending: Option<&str>, status: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"deletionTimestamp": ending},
                "status": {"conditions": [{"type": "Ready", "status": status}]}}))
            .unwrap()
        };
        assert!(is_ready(&pod(None, "True")));
        assert!(!is_ready(&pod(None, "False")) && !is_ready(&pod(Some("2026-01-01T00:00:00Z"), "True")));
        assert!(!is_ready(&Pod::default()));
    }
}
