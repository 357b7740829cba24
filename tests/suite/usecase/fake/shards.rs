//! The other pods of an Indexed Job: what is written for them, and what they make of it.

use std::collections::{BTreeMap, BTreeSet};

use netpol_verify::verify::{
    seams::{Desk, Fault, Shards, Ticket},
    shards::{Answer, Task, work},
};

use super::Fake;

/// A place: the ticket, the task as it is written, and the answer.
type Place = (Ticket, Vec<u8>, Option<Vec<u8>>);

/// What is true of them.
#[derive(Default)]
pub struct Others {
    /// How many there are beside the first.
    pub count: usize,
    /// Those that are there and do nothing.
    pub stuck: BTreeSet<usize>,
    /// Those that have ended, as the Job says.
    pub gone: BTreeSet<usize>,
    /// Those that end as soon as they are given something.
    pub die: BTreeSet<usize>,
    /// Those that leave one probe out of their answer.
    pub careless: BTreeSet<usize>,
    /// Those to whom nothing can be given.
    pub unreachable: BTreeSet<usize>,
    /// Whether the Job cannot be read.
    pub unknown: bool,
    pub places: BTreeMap<usize, Place>,
    pub given: usize,
    /// How often a task was read.
    pub read: usize,
}

impl Shards for Fake {
    fn count(&self) -> usize {
        self.world().others.count + 1
    }

    async fn alive(&self) -> Result<Vec<usize>, Fault> {
        let world = self.world();
        if world.others.unknown {
            return Err("could not get Job".into());
        }
        Ok((1..=world.others.count).filter(|index| !world.others.gone.contains(index)).collect())
    }

    async fn give(&self, index: usize, task: &Task) -> Result<Ticket, Fault> {
        let others = &mut self.world().others;
        if others.unreachable.contains(&index) {
            return Err("could not update ConfigMap".into());
        }
        others.given += 1;
        let ticket = Ticket(others.given.to_string());
        others.places.insert(index, (ticket.clone(), serde_json::to_vec(task)?, None));
        if others.die.contains(&index) {
            others.gone.insert(index);
        }
        Ok(ticket)
    }

    async fn answer(&self, index: usize, ticket: &Ticket) -> Result<Option<Answer>, Fault> {
        let idle = {
            let others = &self.world().others;
            others.stuck.contains(&index) || others.gone.contains(&index)
        };
        if !idle {
            work(self, &Seat { fake: self, index }).await?;
        }
        let world = self.world();
        let (now, _, answer) = world.others.places.get(&index).ok_or("nothing was given")?;
        assert_eq!(now, ticket);
        let mut answer: Option<Answer> = answer.as_ref().map(|bytes| serde_json::from_slice(bytes)).transpose()?;
        if let Some(answer) = answer.as_mut().filter(|_| world.others.careless.contains(&index)) {
            answer.tracks.pop();
        }
        Ok(answer)
    }
}

/// The place of one of them, which goes when nothing is left to do.
pub struct Seat<'f> {
    pub fake: &'f Fake,
    pub index: usize,
}

impl Desk for Seat<'_> {
    async fn task(&self) -> Result<Option<(Ticket, Task)>, Fault> {
        let others = &mut self.fake.world().others;
        others.read += 1;
        let open = others.places.get(&self.index).filter(|(_, _, answer)| answer.is_none());
        open.map(|(ticket, task, _)| Ok((ticket.clone(), serde_json::from_slice(task)?))).transpose()
    }

    async fn ticket(&self) -> Result<Option<Ticket>, Fault> {
        let world = self.fake.world();
        let open = world.others.places.get(&self.index).filter(|(_, _, answer)| answer.is_none());
        Ok(open.map(|(ticket, ..)| ticket.clone()))
    }

    async fn answer(&self, ticket: &Ticket, answer: &Answer) -> Result<(), Fault> {
        let bytes = serde_json::to_vec(answer)?;
        let mut world = self.fake.world();
        let place = world.others.places.get_mut(&self.index).ok_or("no place")?;
        assert_eq!(&place.0, ticket);
        place.2 = Some(bytes);
        Ok(())
    }

    async fn is_over(&self) -> Result<bool, Fault> {
        Ok(self.ticket().await?.is_none())
    }
}
