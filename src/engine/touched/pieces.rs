//! A rule as alternatives: the peers at its far end, and its ports. Each of them must be seen at work.
//!
//! A NetworkPolicy's rule lists both. Of a Calico rule each of its blocks is a peer, or all that its selectors match
//! is one, and each of the destination's ports is a port; everything else that it asks holds for all of them.

use ipnet::IpNet;

use super::{parts, words};
use crate::{
    engine::{
        conditions::Question,
        verdict,
        world::{End, World},
    },
    model::{
        Conditions, Direction, EntityMatch, EntityPort, IpVersion, NAMESPACE_LABEL, NamespaceMatch, Peer, PortMatch,
        PortSet, Rule, Selector,
    },
};

/// A peer of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PeerPart {
    /// The rule names none.
    Anyone,
    /// Addresses.
    Block {
        /// The block.
        cidr: IpNet,
        /// Blocks inside it that do not match.
        except: Vec<IpNet>,
    },
    /// Pods, by what selectors of Kubernetes can say.
    Pods {
        /// Their namespaces.
        namespaces: NamespaceMatch,
        /// Their labels.
        pods: Selector,
    },
    /// What only Calico can say.
    Selected {
        /// The selector or Service, for people.
        text: String,
        /// Whether it names some pods, and not all.
        is_narrow: bool,
    },
}

impl From<&Peer> for PeerPart {
    fn from(peer: &Peer) -> Self {
        match peer.clone() {
            Peer::Pods { namespaces, pods } => Self::Pods { namespaces, pods },
            Peer::Block { cidr, except } => Self::Block { cidr, except },
            Peer::Nodes(nodes) => Self::Selected { text: words::of_nodes(&nodes), is_narrow: false },
        }
    }
}

/// A rule by its peers and ports.
#[derive(Debug, Clone)]
pub(super) struct Pieces<'r> {
    rule: &'r Rule,
    peers: Vec<PeerPart>,
    /// A Calico rule's.
    calico: Option<Calico>,
}

/// A Calico rule, once for each of its peers on any port, and once for each of its ports on any peer.
#[derive(Debug, Clone)]
struct Calico {
    far: EntityMatch,
    of_peer: Vec<Conditions>,
    of_port: Vec<Conditions>,
}

impl<'r> Pieces<'r> {
    pub(super) fn of(rule: &'r Rule, direction: Direction) -> Self {
        if let Some(conditions) = &rule.conditions {
            let calico = Calico::of(conditions, direction);
            return Self { rule, peers: far_peers(&calico.far, conditions), calico: Some(calico) };
        }
        let listed = |all: &Vec<Peer>| all.iter().map(PeerPart::from).collect();
        let peers = rule.peers.as_ref().map_or_else(|| vec![PeerPart::Anyone], listed);
        Self { rule, peers, calico: None }
    }

    /// How many peers there are; one where the rule names none.
    pub(super) const fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// How many ports there are; one where the rule names none.
    pub(super) fn port_count(&self) -> usize {
        match &self.calico {
            Some(calico) => calico.of_port.len(),
            None => self.rule.ports.as_ref().map_or(1, Vec::len),
        }
    }

    /// A peer by its position.
    pub(super) fn peer(&self, position: usize) -> &PeerPart {
        self.peers.get(position).unwrap_or(&PeerPart::Anyone)
    }

    /// Whether a selector names the peer, and not only a range of addresses that it happens to lie in.
    pub(super) fn is_selected(&self, position: usize) -> bool {
        matches!(self.peer(position), PeerPart::Pods { .. } | PeerPart::Selected { .. })
    }

    /// Whether the peer names some pods. One of all namespaces opens towards everybody: that others deny is as intended.
    pub(super) fn is_narrow(&self, position: usize) -> bool {
        match self.peer(position) {
            PeerPart::Anyone | PeerPart::Block { .. } => false,
            PeerPart::Selected { is_narrow, .. } => *is_narrow,
            PeerPart::Pods { namespaces, .. } => {
                !matches!(namespaces, NamespaceMatch::Selected(selector) if selector.is_everything())
            }
        }
    }

    /// The blocks of network sets that the peer's selector matches.
    pub(super) fn sets<'w>(&self, world: &'w World) -> impl Iterator<Item = IpNet> + use<'w> {
        let selector = self.calico.as_ref().and_then(|calico| calico.far.selector.clone());
        let matched = world.surroundings.sets.iter();
        let matched = matched.filter(move |set| selector.as_ref().is_some_and(|s| world.set_matches(s, set)));
        matched.flat_map(|set| set.nets.iter().copied())
    }

    /// The canonical text of a port by its position; `None` where the rule names none.
    pub(super) fn port_key(&self, position: usize) -> Option<String> {
        let Some(calico) = &self.calico else {
            return self.rule.ports.as_ref()?.get(position).map(parts::port_key);
        };
        let protocol = self.rule.conditions.as_ref()?.protocol?.transport()?;
        let part = match calico.of_port.get(position)?.destination.ports.as_slice() {
            [EntityPort::Range { from, to }] => PortMatch::Range { protocol, from: *from, to: *to },
            [EntityPort::Named(name)] => PortMatch::Named { protocol, name: name.clone() },
            _ => return None,
        };
        Some(parts::port_key(&part))
    }

    /// The name of a port by its position, where it has one.
    pub(super) fn port_name(&self, position: usize) -> Option<&str> {
        if let Some(calico) = &self.calico {
            return match calico.of_port.get(position)?.destination.ports.as_slice() {
                [EntityPort::Named(name)] => Some(name),
                _ => None,
            };
        }
        match self.rule.ports.as_ref()?.get(position)? {
            PortMatch::Named { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The positions of the peers that match.
    pub(super) fn matching(&self, world: &World, direction: Direction, source: &End<'_>, to: &End<'_>) -> Vec<usize> {
        if let Some(calico) = &self.calico {
            let asks = |conditions: &Conditions| !reach(world, conditions, source, to).is_empty();
            return positions(&calico.of_peer, asks);
        }
        let far = match direction {
            Direction::Ingress => source,
            Direction::Egress => to,
        };
        match &self.rule.peers {
            None => vec![0],
            Some(peers) => positions(peers, |peer| world.peer_matches(peer, far)),
        }
    }

    /// The destination's ports that each of the rule's matches.
    pub(super) fn entries(&self, world: &World, source: &End<'_>, to: &End<'_>) -> Vec<PortSet> {
        match &self.calico {
            Some(calico) => calico.of_port.iter().map(|one| reach(world, one, source, to)).collect(),
            None => verdict::port_entries(self.rule, to),
        }
    }
}

/// The ports that conditions match, or may.
fn reach(world: &World, conditions: &Conditions, source: &End<'_>, destination: &End<'_>) -> PortSet {
    Question { world, conditions, source: *source, destination: *destination }.reach().at_most()
}

fn positions<T>(all: &[T], matches: impl Fn(&T) -> bool) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, one)| matches(one)).map(|(position, _)| position).collect()
}

impl Calico {
    fn of(conditions: &Conditions, direction: Direction) -> Self {
        let far = conditions.far(direction);
        let with_net = |net: Option<IpNet>| {
            let mut one = conditions.clone();
            let entity = match direction {
                Direction::Ingress => &mut one.source,
                Direction::Egress => &mut one.destination,
            };
            entity.nets = net.into_iter().collect();
            one
        };
        let with_port = |port: &EntityPort| {
            let mut one = conditions.clone();
            one.destination.ports = vec![port.clone()];
            one
        };
        let is_by_net = !is_selected(far) && !far.nets.is_empty();
        let of_peer = if is_by_net { far.nets.iter().map(|net| with_net(Some(*net))).collect() } else { Vec::new() };
        let of_port: Vec<Conditions> = conditions.destination.ports.iter().map(with_port).collect();
        let whole = |list: Vec<Conditions>| if list.is_empty() { vec![conditions.clone()] } else { list };
        Self { far: far.clone(), of_peer: whole(of_peer), of_port: whole(of_port) }
    }
}

const fn is_selected(entity: &EntityMatch) -> bool {
    entity.selector.is_some() || entity.not_selector.is_some() || entity.service.is_some()
}

/// The peers that the far end of a Calico rule means.
fn far_peers(far: &EntityMatch, conditions: &Conditions) -> Vec<PeerPart> {
    if is_selected(far) {
        return vec![selected(far)];
    }
    let within = |net: IpNet| far.not_nets.iter().copied().filter(|not| net.contains(not)).collect();
    if !far.nets.is_empty() {
        return far.nets.iter().map(|net| PeerPart::Block { cidr: *net, except: within(*net) }).collect();
    }
    let Some(first) = far.not_nets.first() else { return vec![PeerPart::Anyone] };
    let version = conditions.ip_version.unwrap_or_else(|| IpVersion::of(first.addr()));
    let all = if version == IpVersion::V4 { "0.0.0.0/0" } else { "::/0" };
    let block = all.parse().ok().map(|cidr| PeerPart::Block { cidr, except: within(cidr) });
    vec![block.unwrap_or(PeerPart::Anyone)]
}

fn selected(far: &EntityMatch) -> PeerPart {
    let is_plain = far.not_selector.is_none() && far.service.is_none() && far.nets.is_empty();
    if let Some((namespaces, pods)) = far.selector.as_ref().filter(|_| is_plain).and_then(words::of_kubernetes) {
        return PeerPart::Pods { namespaces, pods };
    }
    let mut keys = std::collections::BTreeSet::new();
    far.selectors().for_each(|selector| selector.keys(&mut keys));
    let is_narrow = far.service.is_some() || far.selector.is_some() && keys.iter().any(|key| key != NAMESPACE_LABEL);
    PeerPart::Selected { text: words::of_entity(far), is_narrow }
}
