//! Addresses and names that are no pod's: the node, Services, and hosts outside the cluster.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr, path::Path};

use anyhow::{Context, Result};

use crate::{
    api::{Api, object::text},
    net::{self, Name, Net, PodSpec, Protocol, Service},
};

/// The node's address; the API server listens there.
pub(super) const NODE_ADDRESS: &str = "192.168.77.1";
/// The API server's port on the node.
const API_PORT: u16 = 6443;
/// The Service of the API server.
const API_SERVICE: &str = "10.96.0.1";
/// The Service of the name server.
const DNS_SERVICE: &str = "10.96.0.10";

/// A host outside the cluster.
struct Host {
    address: IpAddr,
    name: String,
    ports: Vec<(Protocol, u16)>,
}

/// All of them.
pub(super) struct Names {
    hosts: Vec<Host>,
}

impl Names {
    /// The hosts that the real test cluster has too: `tests/cluster/conf/outside-hosts`.
    pub(super) fn of(fixture: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cluster/conf/outside-hosts");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        // Only the first customer has any.
        let lines = lines.filter(|_| fixture == "plana");
        let mut hosts = lines.map(host).collect::<Result<Vec<_>>>()?;
        hosts.push(Host {
            address: NODE_ADDRESS.parse()?,
            name: "node-1".to_owned(),
            ports: vec![(Protocol::Tcp, API_PORT)],
        });
        Ok(Self { hosts })
    }

    pub(super) async fn add_hosts(&self, net: &Net) -> Result<()> {
        let adds = self.hosts.iter().map(|host| async move {
            let spec = PodSpec {
                name: host.name.clone(),
                addresses: vec![host.address],
                ports: host.ports.clone(),
                ..PodSpec::default()
            };
            net.add_host(&spec).await
        });
        futures::future::try_join_all(adds).await?;
        Ok(())
    }

    /// The addresses of all hosts.
    pub(super) fn outside(&self) -> Vec<IpAddr> {
        self.hosts.iter().map(|host| host.address).collect()
    }

    /// Where pods ask for names: the name server's pod.
    pub(super) fn server(api: &Api) -> IpAddr {
        let pods = api.all("pods");
        let server = pods.iter().find(|pod| text(pod, "/metadata/labels/k8s-app") == "kube-dns");
        let address = server.and_then(|pod| text(pod, "/status/podIP").parse().ok());
        address.unwrap_or_else(|| IpAddr::from([127, 0, 0, 1]))
    }

    /// The Services of the API server and of the name server.
    pub(super) fn services(api: &Api) -> Vec<Service> {
        let service = |address: &str, protocol, port, endpoint: (IpAddr, u16)| {
            let address = address.parse().ok()?;
            Some(Service { address, protocol, port, endpoints: vec![endpoint] })
        };
        let server = Self::server(api);
        let node = NODE_ADDRESS.parse().map(|node| (node, API_PORT));
        let services = [
            node.ok().and_then(|node| service(API_SERVICE, Protocol::Tcp, 443, node)),
            service(DNS_SERVICE, Protocol::Tcp, 53, (server, 53)),
            service(DNS_SERVICE, Protocol::Udp, 53, (server, 53)),
        ];
        services.into_iter().flatten().collect()
    }

    /// Names and addresses, as the cluster's name server knows them.
    fn pairs(&self) -> BTreeMap<String, IpAddr> {
        let hosts = self.hosts.iter().map(|host| (host.name.clone(), host.address));
        let services = [("kubernetes.default", API_SERVICE), ("kube-dns.kube-system", DNS_SERVICE)];
        let services = services.iter().filter_map(|(name, address)| Some(((*name).to_owned(), address.parse().ok()?)));
        hosts.chain(services).collect()
    }

    /// What the lab's name server answers.
    pub(super) fn all(&self) -> net::Names {
        let pairs = self.pairs().into_iter();
        let full = |name: String| {
            if name.contains(".default") || name.contains(".kube-system") {
                format!("{name}.svc.cluster.local")
            } else {
                name
            }
        };
        pairs.map(|(name, address)| (full(name), Name::Addresses(vec![address]))).collect()
    }

    /// The `/etc/hosts` of the verifier, whose own resolver is the cluster's.
    pub(super) fn hosts_file(&self) -> String {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for (name, address) in self.pairs() {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{address} {name}");
        }
        text
    }
}

fn host(line: &str) -> Result<Host> {
    let mut words = line.split_whitespace();
    let (address, name) = (words.next().context("no address")?, words.next().context("no name")?);
    let ports = words.filter_map(|word| word.split_once('/')).map(|(port, protocol)| {
        let protocol = if protocol == "udp" { Protocol::Udp } else { Protocol::Tcp };
        Ok((protocol, port.parse()?))
    });
    Ok(Host { address: address.parse()?, name: name.to_owned(), ports: ports.collect::<Result<_>>()? })
}
