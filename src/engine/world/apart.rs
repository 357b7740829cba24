//! Single pods in classes of their own, so that a probe goes from and to just those.

use super::{Class, World};
use crate::model::{PodInfo, PodRef};

impl World {
    /// The same world with each of these pods in a class of its own; the others of its class keep theirs. Classes keep
    /// their indexes, new ones come last.
    #[must_use]
    pub fn with_apart(&self, apart: &[PodRef], pods: &[PodInfo]) -> Self {
        let mut world = self.clone();
        for pod in apart.iter().filter_map(|id| pods.iter().find(|pod| pod.id == *id)) {
            let Some(class) = world.classes.iter_mut().find(|class| class.pods.contains(&pod.id)) else { continue };
            if class.pods.len() == 1 {
                continue;
            }
            let mut own = class.clone();
            class.pods.retain(|id| *id != pod.id);
            let first = class.pods.first().and_then(|id| pods.iter().find(|other| other.id == *id));
            if let Some(first) = first {
                stand_for(class, first);
            }
            own.pods = vec![pod.id.clone()];
            stand_for(&mut own, pod);
            world.classes.push(own);
        }
        world
    }

    /// The class that has a pod, by index.
    #[must_use]
    pub fn class_of(&self, pod: &PodRef) -> Option<usize> {
        self.classes.iter().position(|class| class.pods.contains(pod))
    }
}

/// Takes what the first pod of a class says for all of them.
fn stand_for(class: &mut Class, pod: &PodInfo) {
    class.ips.clone_from(&pod.ips);
    class.usable = pod.is_usable();
    class.node.clone_from(&pod.node);
    class.service_account.clone_from(&pod.service_account);
}
