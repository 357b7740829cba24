//! A run that is killed before and after each thing that it writes: whatever moment it was, the next run completes the
//! work, and the room has every message once.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lab::{
    faults::{Fault, Faults},
    world::{Lab, Signal},
};
use tokio::sync::OnceCell;

use crate::shop::{assert_cured, assert_green, assert_none_twice, assert_told_once, open, play};

const STATES: &str = "/configmaps/netpol-verify-state";
const SEND: &str = "/send/m.room.message/";

/// What a room holds: for each message whether it stands in a thread, and its first line.
type Said = BTreeSet<(bool, String)>;

/// When the signal comes.
#[derive(Debug, Clone, Copy)]
enum When {
    Before,
    After,
}

/// What a run that nobody disturbs says: thread or not, and the first line of each message.
fn said(lab: &Lab) -> Said {
    lab.matrix.messages().iter().map(|one| (one.thread.is_some(), one.first_line().to_owned())).collect()
}

/// The first lines of thread messages name the run, whose number a killed run may have used up.
fn without_numbers(said: Said) -> Said {
    let digits = |text: String| text.chars().filter(|c| !c.is_ascii_digit()).collect();
    said.into_iter().map(|(thread, line)| (thread, digits(line))).collect()
}

fn faults(lab: &Lab, matrix: bool) -> &Faults {
    if matrix { &lab.matrix.faults } else { &lab.api.faults }
}

/// Kills at each write of a kind in turn, until a run has fewer of them.
fn killed(path: &'static str, matrix: bool, signal: Signal, when: When) -> Result<()> {
    let mut writes = 1;
    let mut number = 0;
    while number < writes {
        play(async |lab| {
            let commit = open(lab).await?;
            let kill = lab.verifier.signal(signal);
            let fault = match when {
                When::Before => Fault::Before(kill),
                When::After => Fault::After(kill),
            };
            faults(lab, matrix).later("PUT", path, number, 1, fault);
            let run = lab.run_for(&commit).await?;
            ensure!(run.code != Some(0), "write {number}: a killed run is not green\n{}", run.log);
            let disturbed = faults(lab, matrix).requests("PUT").iter().filter(|line| line.contains(path)).count();
            ensure!(disturbed > number, "write {number} never came");
            assert_cured(lab, &commit).await.map_err(|error| error.context(format!("write {number}")))?;
            let after = without_numbers(said(lab));
            let (undisturbed, all) = undisturbed(path).await?;
            writes = all;
            ensure!(after == undisturbed, "write {number}: {after:#?}\ninstead of {undisturbed:#?}");
            assert_none_twice(lab)
        })?;
        number += 1;
    }
    Ok(())
}

/// What an undisturbed run says, and how many writes of a kind it makes.
async fn undisturbed(path: &str) -> Result<(Said, usize)> {
    static SAID: OnceCell<(Said, Vec<String>)> = OnceCell::const_new();
    let (said, requests) = SAID
        .get_or_try_init(|| async {
            let lab = Lab::start(lab::world::Setup::default()).await?;
            lab.put(&crate::shop::first_state().await?)?;
            let commit = open(&lab).await?;
            assert_green(&lab.run_for(&commit).await?)?;
            let requests = [lab.api.faults.requests("PUT"), lab.matrix.faults.requests("PUT")].concat();
            anyhow::Ok((without_numbers(said(&lab)), requests))
        })
        .await?;
    Ok((said.clone(), requests.iter().filter(|line| line.contains(path)).count()))
}

#[test]
fn killed_before_each_write_of_the_state() -> Result<()> {
    row!(Killed, "");
    killed(STATES, false, Signal::KILL, When::Before)
}

#[test]
fn killed_after_each_write_of_the_state() -> Result<()> {
    row!(Killed, "");
    killed(STATES, false, Signal::KILL, When::After)
}

#[test]
fn terminated_before_each_write_of_the_state() -> Result<()> {
    row!(Killed, "");
    killed(STATES, false, Signal::TERM, When::Before)
}

#[test]
fn terminated_after_each_write_of_the_state() -> Result<()> {
    row!(Killed, "");
    killed(STATES, false, Signal::TERM, When::After)
}

#[test]
fn killed_before_each_message() -> Result<()> {
    row!(Killed, "");
    killed(SEND, true, Signal::KILL, When::Before)
}

#[test]
fn killed_after_each_message() -> Result<()> {
    row!(Killed, "");
    killed(SEND, true, Signal::KILL, When::After)
}

#[test]
fn terminated_before_each_message() -> Result<()> {
    row!(Killed, "");
    killed(SEND, true, Signal::TERM, When::Before)
}

#[test]
fn terminated_after_each_message() -> Result<()> {
    row!(Killed, "");
    killed(SEND, true, Signal::TERM, When::After)
}

/// Killed at a request, before or after it is carried out: nothing is lost, and nothing comes twice.
fn killed_at(method: &'static str, path: &'static str, signal: Signal, when: When) -> Result<()> {
    play(async |lab| {
        let commit = open(lab).await?;
        let kill = lab.verifier.signal(signal);
        let fault = match when {
            When::Before => Fault::Before(kill),
            When::After => Fault::After(kill),
        };
        lab.api.faults.add(method, path, 1, fault);
        let run = lab.run_for(&commit).await?;
        ensure!(run.signal == Some(signal.as_raw()), "{:?} {:?}", run.code, run.signal);
        ensure!(lab.api.faults.all_met(), "the fault met no request");
        assert_cured(lab, &commit).await?;
        assert_told_once(lab, &commit, "✅")
    })
}

#[test]
fn killed_at_its_first_probe() -> Result<()> {
    row!(Killed, "");
    killed_at("GET", "/exec?", Signal::KILL, When::Before)
}

#[test]
fn killed_at_a_list() -> Result<()> {
    row!(Killed, "");
    killed_at("GET", "/api/v1/pods?", Signal::KILL, When::Before)
}

#[test]
fn killed_at_the_artifacts_source() -> Result<()> {
    row!(Killed, "");
    killed_at("GET", "/gitrepositories/", Signal::KILL, When::Before)
}

#[test]
fn killed_before_it_takes_the_lease() -> Result<()> {
    row!(Killed, "");
    killed_at("POST", "/leases", Signal::KILL, When::Before)
}

#[test]
fn killed_after_it_took_the_lease() -> Result<()> {
    row!(Killed, "");
    killed_at("POST", "/leases", Signal::KILL, When::After)
}

#[test]
fn terminated_after_it_took_the_lease() -> Result<()> {
    row!(Killed, "");
    killed_at("POST", "/leases", Signal::TERM, When::After)
}

#[test]
fn killed_before_its_event() -> Result<()> {
    row!(Killed, "");
    killed_at("POST", "/events", Signal::KILL, When::Before)
}

#[test]
fn killed_after_its_event() -> Result<()> {
    row!(Killed, "");
    killed_at("POST", "/events", Signal::KILL, When::After)
}

#[test]
fn terminated_at_its_first_probe() -> Result<()> {
    row!(Killed, "");
    killed_at("GET", "/exec?", Signal::TERM, When::Before)
}
