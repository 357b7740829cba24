//! Telling classes apart by what rules see in them: those of one kind are asked about once.

use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};

/// Peers that the rules of a group do not tell apart; 0 for those that none of them names.
pub(super) type Kind = u32;

/// The classes that some of these rules name, in order, with a number for each set of rules that name the same ones with
/// the same marks. A rule gives each class that it names, with its mark; `kinds` has a zero for every class, and has so
/// again afterwards.
pub(super) fn tell_apart<M: Copy + Eq + Hash>(
    kinds: &mut [Kind],
    rules: impl Iterator<Item = impl Iterator<Item = (usize, M)>>,
) -> Vec<(usize, Kind)> {
    let mut touched: Vec<usize> = Vec::new();
    let mut refined: HashMap<(Kind, usize, M), Kind> = HashMap::new();
    for (place, named) in rules.enumerate() {
        // Neighbours are mostly of one kind.
        let mut last = None;
        for (class, mark) in named {
            let Some(kind) = kinds.get_mut(class) else { continue };
            if *kind == 0 {
                touched.push(class);
            }
            let key = (*kind, place, mark);
            *kind = match last {
                Some((known, to)) if known == key => to,
                _ => {
                    let next = Kind::try_from(refined.len() + 1).unwrap_or(Kind::MAX);
                    *refined.entry(key).or_insert(next)
                }
            };
            last = Some((key, *kind));
        }
    }
    touched.sort_unstable();
    touched.into_iter().map(|class| (class, kinds.get_mut(class).map(std::mem::take).unwrap_or_default())).collect()
}

/// Numbers from 0 up, equal for what is equal.
pub(super) fn numbered<T: Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<u32> {
    let mut numbers: HashMap<T, u32> = HashMap::new();
    let mut number = |one| {
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        *numbers.entry(one).or_insert(next)
    };
    all.map(&mut number).collect()
}
