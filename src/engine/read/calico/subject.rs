//! The endpoints that a Calico policy applies to.

use super::{
    super::fields::{Fields, Read},
    Scope,
    entity::plain_selector,
};
use crate::{
    engine::surroundings::{OF_ACCOUNT, OF_NAMESPACE},
    model::{ACCOUNT_LABEL, CalicoSelector, NAMESPACE_LABEL, NamespaceMatch, Selector, Subject},
};

/// Reads the selectors of a policy's spec.
///
/// In a global policy, a selector on namespaces or ServiceAccounts turns `all()` into being in one, wherever it stands
/// (semantics: "adding any namespaceSelector restricts to workloads").
pub(super) fn read(spec: &Fields<'_>, scope: &Scope<'_>) -> Read<Subject> {
    let own = plain_selector(spec, "selector")?;
    let account = plain_selector(spec, "serviceAccountSelector")?.map(|s| s.with_prefix(OF_ACCOUNT));
    if let Some(namespace) = scope.namespace {
        return Ok(Subject {
            namespaces: NamespaceMatch::Named(namespace.to_owned()),
            pods: Selector::everything(),
            calico: CalicoSelector::all_of(own.into_iter().chain(account)),
        });
    }
    let mut calico = own;
    if let Some(namespaces) = plain_selector(spec, "namespaceSelector")? {
        let both = calico.into_iter().chain([namespaces.with_prefix(OF_NAMESPACE)]);
        calico = CalicoSelector::all_of(both).map(|selector| selector.with_all_as(NAMESPACE_LABEL));
    }
    if let Some(account) = account {
        let both = calico.into_iter().chain([account]);
        calico = CalicoSelector::all_of(both).map(|selector| selector.with_all_as(ACCOUNT_LABEL));
    }
    let namespaces = NamespaceMatch::Selected(Selector::everything());
    Ok(Subject { namespaces, pods: Selector::everything(), calico })
}

/// Whether a policy is for host endpoints alone: for packets before conntrack or before DNAT.
pub(super) fn host_only(spec: &Fields<'_>, has_egress: bool) -> Read<bool> {
    let (untracked, before_dnat) = (spec.flag("doNotTrack")?, spec.flag("preDNAT")?);
    let forward = spec.flag("applyOnForward")?;
    if untracked && before_dnat {
        return Err(spec.fault("preDNAT", "`preDNAT` and `doNotTrack` exclude each other".to_owned()));
    }
    if (untracked || before_dnat) && !forward {
        let key = if untracked { "doNotTrack" } else { "preDNAT" };
        return Err(spec.fault(key, format!("`{key}` needs `applyOnForward`")));
    }
    if before_dnat && has_egress {
        return Err(spec.fault("preDNAT", "`preDNAT` has no egress".to_owned()));
    }
    Ok(untracked || before_dnat)
}
