//! Calico's own kinds of policy, beyond what the tiered form needs for NetworkPolicy.

mod name;
mod parse;
mod rule;
mod selector;
mod set;

pub use name::{CALICO_API, CALICO_STORE, api_family, is_calico_copy};
pub use rule::{Conditions, EntityMatch, EntityPort, IcmpMatch, IpProtocol, IpVersion, ServiceName};
pub use selector::{ACCOUNT_LABEL, CalicoSelector, InvalidCalicoSelector, LabelSource, NAMESPACE_LABEL};
pub use set::{NetworkSet, TieRule};
