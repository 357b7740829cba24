//! Who may be at the far end of each rule.

use foldhash::HashMap;

use crate::{
    engine::{
        conditions::{self, Standing},
        kinds::{self, Kind},
        world::{ByNamespace, End, Family, World},
    },
    model::{Direction, NamespaceMatch, Peer, Rule},
};

/// The classes that are a rule's far end, in order; `None` where each is, and all alike.
type Far = Option<Vec<(u32, Standing)>>;

/// The far ends of the rules of one direction, in one family, as far as they were asked for.
#[derive(Default)]
pub(super) struct Fars {
    /// By what a rule says: its place in `ends`. Many rules name the same.
    known: HashMap<String, usize>,
    ends: Vec<Far>,
    /// By class, while a group's peers are told apart.
    kinds: Vec<Kind>,
}

impl Fars {
    /// Asks a rule about every class that its namespaces leave, unless one that says the same was asked before.
    fn place(&mut self, asked: &Asked<'_>, rule: &Rule) -> usize {
        let Self { known, ends, .. } = self;
        *known.entry(asked.text(rule)).or_insert_with(|| {
            ends.push(asked.far(rule));
            ends.len() - 1
        })
    }

    /// The classes that some of these rules name, sorted, with a number for each set of rules that name the same ones in
    /// the same way; and whether one of the rules for which `counts` holds is about anyone.
    pub(super) fn kinds(
        &mut self,
        asked: &Asked<'_>,
        rules: &[&Rule],
        counts: impl Fn(&Rule) -> bool,
    ) -> (Vec<(usize, Kind)>, bool) {
        self.kinds.resize(asked.world.classes.len(), 0);
        let places: Vec<usize> = rules.iter().map(|rule| self.place(asked, rule)).collect();
        let is_anyone = |place: &usize| matches!(self.ends.get(*place), Some(None));
        let is_about_anyone = rules.iter().zip(&places).any(|(rule, place)| is_anyone(place) && counts(rule));
        let Self { ends, kinds, .. } = self;
        let named = |place: &usize| {
            let far = ends.get(*place).and_then(Option::as_ref).into_iter().flatten();
            far.map(|(class, standing)| (*class as usize, *standing))
        };
        (kinds::tell_apart(kinds, places.iter().map(named)), is_about_anyone)
    }
}

/// One direction of a world, in one family, whose rules are asked.
pub(super) struct Asked<'w> {
    world: &'w World,
    direction: Direction,
    family: Family,
    namespaces: ByNamespace<'w>,
}

impl<'w> Asked<'w> {
    pub(super) fn new(world: &'w World, direction: Direction, family: Family) -> Self {
        Self { world, direction, family, namespaces: ByNamespace::new(world) }
    }

    /// What says who is at the far end, as text.
    fn text(&self, rule: &Rule) -> String {
        match &rule.conditions {
            Some(conditions) => format!("{:?}", conditions.far(self.direction)),
            None => format!("{:?}", rule.peers),
        }
    }

    fn far(&self, rule: &Rule) -> Far {
        if let Some(conditions) = &rule.conditions {
            let entity = conditions.far(self.direction);
            let is_source = self.direction == Direction::Ingress;
            return self.standing(|end, class| conditions::standing(self.world, (entity, is_source), end, class));
        }
        let mut named: Vec<(u32, Standing)> = Vec::new();
        for peer in rule.peers.as_ref()? {
            let any = NamespaceMatch::Selected(crate::model::Selector::everything());
            let namespaces = match peer {
                Peer::Pods { namespaces, .. } => namespaces,
                Peer::Block { .. } | Peer::Nodes(_) => &any,
            };
            let classes = self.namespaces.classes(namespaces).into_iter();
            let is_one = |class: &usize| self.end(*class).is_some_and(|end| self.world.peer_matches(peer, &end));
            named
                .extend(classes.filter(is_one).filter_map(|class| Some((u32::try_from(class).ok()?, Standing::PLAIN))));
        }
        named.sort_unstable();
        named.dedup();
        Some(named)
    }

    fn standing(&self, of: impl Fn(&End<'_>, usize) -> Standing) -> Far {
        let all = (0..self.world.classes.len()).filter_map(|class| {
            let standing = of(&self.end(class)?, class);
            Some((u32::try_from(class).ok()?, standing))
        });
        let all: Vec<_> = all.collect();
        if all.iter().all(|(_, standing)| *standing == Standing::PLAIN) {
            return None;
        }
        Some(all.into_iter().filter(|(_, standing)| *standing != Standing::Outside).collect())
    }

    fn end(&self, class: usize) -> Option<End<'_>> {
        Some(End::pods(self.world.classes.get(class)?, self.family))
    }
}
