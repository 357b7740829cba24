//! Policies of the network policy API: AdminNetworkPolicy, its baseline and ClusterNetworkPolicy.

use crate::model::{LivePolicy, NotReadable, NotUnderstood};

use super::{discovery::Served, list::Reader, whole};

/// What was found of them.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Policies, also those whose content is not understood.
    pub policies: Vec<LivePolicy>,
    /// Policies whose content no reader takes.
    pub not_understood: Vec<NotUnderstood>,
    /// Kinds that could not be listed.
    pub not_readable: Vec<NotReadable>,
}

/// Reads them all.
pub(super) async fn read(reader: &Reader, kinds: &[Vec<Served>]) -> Found {
    let (policies, not_readable) = whole::all(reader, kinds, &[], true).await;
    let not_understood = whole::unreadable(&[], policies.iter());
    Found { policies, not_understood, not_readable }
}
