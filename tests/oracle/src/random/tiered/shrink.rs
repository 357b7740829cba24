//! Making a case small that two readings disagree about.

use serde_json::Value;

use crate::tiers::World;

/// Takes policies, other documents, pods and single rules away, one after another, as long as `fails` still holds.
///
/// Pods are taken only where that does not change the answer to `fails`, so a case's own pods stay.
#[must_use]
pub fn shrunk(world: &World, fails: impl Fn(&World) -> bool) -> World {
    let mut small = world.clone();
    loop {
        let before = small.clone();
        for place in (0..small.others.len()).rev() {
            keep_if(&mut small, &fails, |world| drop(world.others.remove(place)));
        }
        for place in (0..small.plain.policies.len()).rev() {
            keep_if(&mut small, &fails, |world| drop(world.plain.policies.remove(place)));
        }
        for place in (0..small.plain.pods.len()).rev() {
            keep_if(&mut small, &fails, |world| drop(world.plain.pods.remove(place)));
        }
        for place in 0..small.others.len() {
            for direction in ["/spec/ingress", "/spec/egress"] {
                rules(&mut small, &fails, place, direction);
            }
        }
        if small == before {
            return small;
        }
    }
}

fn rules(small: &mut World, fails: &impl Fn(&World) -> bool, place: usize, pointer: &str) {
    let count = list_at(small, place, pointer).map_or(0, |rules| rules.len());
    for rule in (0..count).rev() {
        keep_if(small, fails, |world| {
            if let Some(rules) = list_at(world, place, pointer) {
                rules.remove(rule);
            }
        });
    }
}

fn list_at<'a>(world: &'a mut World, place: usize, pointer: &str) -> Option<&'a mut Vec<Value>> {
    world.others.get_mut(place)?.pointer_mut(pointer)?.as_array_mut()
}

fn keep_if(small: &mut World, fails: &impl Fn(&World) -> bool, change: impl Fn(&mut World)) {
    let mut changed = small.clone();
    change(&mut changed);
    if fails(&changed) {
        *small = changed;
    }
}
