//! Which namespaces are product namespaces, and where probes may start.

use std::collections::BTreeSet;

use super::{ProductNamespaces, selector};
use crate::model::{Labels, Selector, Snapshot};

/// The configured sets, ready to be asked.
#[derive(Debug, Clone)]
pub struct NamespaceSet {
    names: Vec<String>,
    selector: Option<Selector>,
    exclude: Vec<String>,
    probe: Vec<String>,
}

impl NamespaceSet {
    /// Compiles the configuration.
    ///
    /// # Errors
    /// A selector or pattern that cannot be read.
    pub fn new(product: &ProductNamespaces, probe: &[String]) -> Result<Self, String> {
        let patterns = product.names.iter().chain(&product.exclude).chain(probe);
        if let Some(bad) = patterns.into_iter().find(|p| !is_pattern(p)) {
            return Err(format!("`{bad}` is neither a namespace nor a pattern such as plana-odoo*"));
        }
        let selector = product.selector.as_deref().map(selector::parse).transpose();
        let selector = selector.map_err(|error| format!("productNamespaces.selector {error}"))?;
        Ok(Self { names: product.names.clone(), selector, exclude: product.exclude.clone(), probe: probe.to_vec() })
    }

    /// Whether a namespace is a product namespace by name or labels.
    #[must_use]
    pub fn is_product(&self, name: &str, labels: &Labels) -> bool {
        let named = self.names.iter().any(|p| matches(p, name));
        let selected = self.selector.as_ref().is_some_and(|s| s.matches(labels));
        (named || selected) && !self.is_excluded(name)
    }

    /// The selector of product namespaces, where there is one.
    #[must_use]
    pub const fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// The product namespaces of a snapshot. One that was seen as such before stays one until it is deleted or
    /// excluded, so that removing a label does not take it out of sight.
    #[must_use]
    pub fn product(&self, snapshot: &Snapshot, before: &[String]) -> BTreeSet<String> {
        let live = snapshot.namespaces.iter();
        let now = live.filter(|(name, info)| self.is_product(name, &info.labels)).map(|(name, _)| name.clone());
        let kept = before.iter().filter(|n| snapshot.namespaces.contains_key(*n) && !self.is_excluded(n)).cloned();
        now.chain(kept).collect()
    }

    /// Whether a namespace is one of `probeNamespaces`.
    #[must_use]
    pub fn may_probe(&self, name: &str) -> bool {
        self.probe.iter().any(|p| matches(p, name))
    }

    fn is_excluded(&self, name: &str) -> bool {
        self.exclude.iter().any(|p| matches(p, name))
    }
}

/// Letters, digits, `-`, and the wildcards `*` and `?`.
pub(super) fn is_pattern(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-*?".contains(c))
}

/// Whether `name` matches a pattern with `*` (any characters) and `?` (one).
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    wildmatch::WildMatch::new(pattern).matches(name)
}
