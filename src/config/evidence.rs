//! Where an enforcer logs what it drops.

use serde::{Deserialize, Serialize};

use super::{PodSelector, valid};
use crate::engine::evidence::Enforcers;

/// Where to look for dropped packets; what is not said is where Calico's operator puts `calico-node`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// The namespace.
    #[serde(deserialize_with = "valid::namespace")]
    pub namespace: String,
    /// The pods' labels.
    pub selector: PodSelector,
}

impl Default for Evidence {
    fn default() -> Self {
        Self { namespace: "calico-system".to_owned(), selector: PodSelector::label("k8s-app", "calico-node") }
    }
}

impl Evidence {
    /// Whose logs are read.
    #[must_use]
    pub fn enforcers(&self) -> Enforcers {
        Enforcers { namespace: self.namespace.clone(), selector: self.selector.selector().clone() }
    }
}
