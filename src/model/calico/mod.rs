//! Calico's own kinds of policy, beyond what the tiered form needs for NetworkPolicy.

mod parse;
mod selector;

pub use selector::{ACCOUNT_LABEL, CalicoSelector, InvalidCalicoSelector, LabelSource, NAMESPACE_LABEL};
