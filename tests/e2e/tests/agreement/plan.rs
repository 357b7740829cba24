//! What is asked of the data plane that runs.

use anyhow::{Result, bail};
use e2e::{Cluster, DataPlane};
use oracle::{
    features::{self, Feature},
    random::{
        Shape,
        tiered::{Admin, Focus, Mix},
    },
};

use crate::spared;

/// What a data plane is asked.
pub struct Plan {
    /// What enforces.
    pub data_plane: DataPlane,
    /// What policies are made of.
    pub mix: Mix,
    /// What has to decide flows.
    pub features: Vec<Feature>,
    /// Flows, at least.
    pub flows: usize,
}

impl Plan {
    /// That of the data plane that runs.
    ///
    /// # Errors
    /// It reads such policies wrongly.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let (data_plane, name) = (cluster.data_plane()?, cluster.variable("DATA_PLANE")?);
        let shape = |policies| Shape { policies, ..spared::shape(data_plane) };
        let of_admin = |policies, admin| Mix::kubernetes(shape(policies), admin);
        let (mix, features, flows) = match name {
            "calico" => (Mix::calico_3_28(shape(3)), features::without_admin(), 1_000),
            "kube-network-policies" => (of_admin(7, Admin::Nothing), features::of_kubernetes(), 500),
            "kube-network-policies-anp" => (of_admin(4, Admin::V1alpha1), features::of_admin(), 500),
            "kube-network-policies-cnp" => (of_admin(4, Admin::V1alpha2), features::of_admin(), 500),
            other => bail!("{other} does not enforce any of these mixtures rightly: see `spared`"),
        };
        let absent = spared::features(name);
        let features = features.into_iter().filter(|feature| !absent.contains(&feature.name)).collect();
        Ok(Self { data_plane, mix, features, flows })
    }

    /// What the policies of a round are mostly about.
    pub fn mix(&self, round: u64) -> Mix {
        let focus = match round % 4 {
            0 => Focus::Everything,
            1 => Focus::Ports,
            2 => Focus::Labels,
            _ => Focus::Ties,
        };
        Mix { focus, ..self.mix.clone() }
    }
}
