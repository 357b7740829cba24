//! Endpoints and ports as filters.

use std::borrow::Cow;

use crate::{
    engine::{
        asked::{self, Port},
        reach::{Open, Reach, Row, outside::Range},
    },
    model::{Endpoint, PortRange, PortSet, Protocol, Snapshot},
};

/// The endpoints that a list is about.
pub(super) struct Filter {
    ends: Vec<Endpoint>,
    ranges: Vec<Range>,
}

impl Filter {
    /// What `text` means.
    pub(super) fn new(text: &str, reach: &Reach<'_>, snapshot: &Snapshot) -> Result<Self, asked::Unknown> {
        let mut filter = Self { ends: Vec::new(), ranges: Vec::new() };
        for end in asked::resolve(text, reach, snapshot)?.ends {
            filter.ranges.extend(end.nets.iter().map(|net| Range::of(*net)));
            // A pod is listed as its workload, unless the pods of that differ.
            let listed = reach.points().iter().find(|p| end.pod.as_ref().is_some_and(|pod| p.pods.contains(pod)));
            filter.ends.push(listed.map_or(end.endpoint, |point| point.endpoint.clone()));
        }
        Ok(filter)
    }

    fn matches(&self, end: &Endpoint) -> bool {
        match end {
            Endpoint::External { cidrs, .. } => {
                cidrs.iter().any(|net| self.ranges.iter().any(|range| range.overlaps(&Range::of(*net))))
            }
            end => self.ends.contains(end),
        }
    }
}

/// What of a list is wanted.
pub(super) struct Wanted {
    from: Option<Filter>,
    to: Option<Filter>,
    port: Option<(Protocol, u16)>,
}

impl Wanted {
    /// From the options of the command line.
    pub(super) fn new(
        from: Option<&str>,
        to: Option<&str>,
        port: Option<&str>,
        reach: &Reach<'_>,
        snapshot: &Snapshot,
    ) -> Result<Self, anyhow::Error> {
        let filter = |text: Option<&str>| text.map(|text| Filter::new(text, reach, snapshot)).transpose();
        let port = match port.map(asked::port).transpose()? {
            None => None,
            Some((protocol, Port::Number(number))) => Some((protocol, number)),
            Some((_, Port::Name(name))) => anyhow::bail!("port `{name}`: a list can be cut down by numbers only"),
        };
        Ok(Self { from: filter(from)?, to: filter(to)?, port })
    }

    /// What is wanted of a flow, if there is any.
    pub(super) fn of<'r>(&self, row: &Row<'r>) -> Option<Cow<'r, Open>> {
        let matches = |filter: &Option<Filter>, end| filter.as_ref().is_none_or(|filter| filter.matches(end));
        if !(matches(&self.from, row.source) && matches(&self.to, row.destination)) {
            return None;
        }
        let Some((protocol, port)) = self.port else { return Some(Cow::Borrowed(row.open)) };
        let wanted = PortSet::from_iter([PortRange { protocol, from: port, to: port }]);
        row.open.ports.contains(protocol, port).then(|| Cow::Owned(Open::ports(wanted)))
    }
}
