//! What the other pods of an Indexed Job do.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};

use super::{Answer, PAUSE, Task};
use crate::verify::{
    probing,
    seams::{Clock, Desk, Fault, Prober, Ticket, Wire},
};

/// How often a pod that probes looks whether somebody still wants to know.
const WANTED: Duration = Duration::from_secs(5);

/// How long the API server may be away.
const PATIENCE: Duration = Duration::from_secs(300);

/// What one look at the desk came to.
enum Step {
    /// The run has ended.
    Over,
    /// Nothing was to be done, or nobody wants it any more.
    Idle,
    /// A task was answered.
    Answered,
}

/// Does the tasks that come, until the run has ended. Gives how many it has answered.
///
/// # Errors
/// Its desk cannot be seen for minutes.
pub async fn work<W: Wire, D: Desk>(wire: &W, desk: &D) -> Result<usize, Fault> {
    let mut answered = 0;
    let mut failing: Option<Duration> = None;
    loop {
        match step(wire, desk).await {
            Ok(Step::Over) => return Ok(answered),
            Ok(Step::Idle) => failing = None,
            Ok(Step::Answered) => {
                failing = None;
                answered += 1;
            }
            Err(fault) => {
                let now = wire.clock().elapsed();
                if now.saturating_sub(*failing.get_or_insert(now)) >= PATIENCE {
                    return Err(fault);
                }
                tracing::warn!(error = %fault, "tried again");
            }
        }
        wire.clock().sleep(PAUSE).await;
    }
}

async fn step<W: Wire, D: Desk>(wire: &W, desk: &D) -> Result<Step, Fault> {
    if desk.is_over().await? {
        return Ok(Step::Over);
    }
    let Some((ticket, task)) = desk.task().await? else { return Ok(Step::Idle) };
    tracing::info!(probes = task.probes.len(), "probing a share");
    let unwanted = unwanted(wire, desk, &ticket);
    match select(pin!(done(wire, task)), pin!(unwanted)).await {
        Either::Left((answer, _)) => desk.answer(&ticket, &answer).await.map(|()| Step::Answered),
        Either::Right(_) => {
            tracing::info!("nobody waits for this share any more");
            Ok(Step::Idle)
        }
    }
}

async fn done<W: Wire>(wire: &W, task: Task) -> Answer {
    let before = wire.prober().added();
    let probing = probing::probe(wire, &task.ground, task.probes, task.patience).await;
    Answer { tracks: probing.tracks, denial: probing.denial, added: wire.prober().added().saturating_sub(before) }
}

/// Ends when the run has ended or has put another task there: the one who asked was begun anew, with a plan of its own.
async fn unwanted<W: Wire, D: Desk>(wire: &W, desk: &D, ticket: &Ticket) {
    loop {
        wire.clock().sleep(WANTED).await;
        if matches!(desk.is_over().await, Ok(true)) {
            return;
        }
        match desk.ticket().await {
            Ok(Some(now)) if now == *ticket => {}
            // What cannot be seen now may be there still.
            Err(_) => {}
            Ok(_) => return,
        }
    }
}
