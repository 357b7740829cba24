//! Where each fault begins: the small shop, verified once; and what is asserted of most of them.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::{Context, Result, ensure};
use e2e::Message;
pub use e2e::rules::SHOP;
use e2e::rules::{SESSIONS_INGRESS, STORE, egress, ingress, sessions_egress};
use lab::world::{Finished, Lab, NAMESPACE, Setup};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::matrix;

/// The state's name.
pub const STATE: &str = "netpol-verify-state";

/// Labs at a time: they mostly wait.
const AT_ONCE: usize = 6;
static RUNNING: Mutex<usize> = Mutex::new(0);
static FREE: Condvar = Condvar::new();

/// A lab's turn.
pub struct Turn;

impl Turn {
    fn take() -> Self {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        while *running >= AT_ONCE {
            running = FREE.wait(running).unwrap_or_else(PoisonError::into_inner);
        }
        *running += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREE.notify_one();
    }
}

/// Waits for a lab's turn.
pub fn turn() -> Turn {
    Turn::take()
}

/// Plays one fault in a lab of its own, whose verifier has run once.
pub fn play(story: impl AsyncFnOnce(&mut Lab) -> Result<()>) -> Result<()> {
    matrix::begin()?;
    let _turn = Turn::take();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let mut lab = Lab::start(Setup::default()).await?;
        lab.put(&first_state().await?)?;
        let played = story(&mut lab).await;
        let played = matrix::end().and(played).and_then(|()| matrix::judge(&lab));
        if played.is_err() {
            eprintln!("--- requests\n{}", lab.api.faults.requests("").join("\n"));
            lab.matrix.messages().iter().for_each(|one| eprintln!("--- message {:?}\n{}", one.thread, one.body));
        }
        played
    })
}

/// What a first run leaves behind: the same in every lab, so one run is enough for all.
pub async fn first_state() -> Result<Value> {
    static FIRST: OnceCell<Value> = OnceCell::const_new();
    let made = FIRST.get_or_try_init(|| async {
        let lab = Lab::start(Setup::default()).await?;
        lab.first_run().await?;
        let state = state(&lab)?;
        anyhow::Ok(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": NAMESPACE, "name": STATE},
            "data": state.get("data"), "binaryData": state.get("binaryData"),
        }))
    });
    made.await.cloned()
}

/// The state's ConfigMap.
pub fn state(lab: &Lab) -> Result<Value> {
    lab.api.get("configmaps", NAMESPACE, STATE).context("there is no state")
}

/// The version of the state's ConfigMap: the same as before means that nothing was written.
pub fn version(lab: &Lab) -> Result<String> {
    Ok(state(lab)?.pointer("/metadata/resourceVersion").map(Value::to_string).unwrap_or_default())
}

/// Appends to a file of the repository.
pub fn append(lab: &Lab, path: &str, text: &str) -> Result<()> {
    let before = lab.git.read(path)?;
    lab.git.write(path, &(before + text));
    Ok(())
}

/// Merges a new flow, open on both sides: a green merge where nothing goes wrong. Gives the commit.
pub async fn open(lab: &Lab) -> Result<String> {
    edit_open(lab)?;
    lab.merge("Let the shop use pgbouncer").await
}

/// The edit of [`open`], not merged yet.
pub fn edit_open(lab: &Lab) -> Result<()> {
    append(lab, SHOP, &egress(6432))?;
    append(lab, STORE, &ingress("web", 6432))
}

/// Merges the end of a flow, on both sides: green too, but it takes the seconds that a drop takes.
pub async fn close(lab: &Lab) -> Result<String> {
    lab.git.replace(SHOP, &sessions_egress(), "")?;
    lab.git.replace(STORE, SESSIONS_INGRESS, "")?;
    lab.merge("Sessions moved out of the database").await
}

/// A run that could not tell says so: exit 3, and no report that says anything better.
pub fn assert_not_told(run: &Finished) -> Result<()> {
    ensure!(run.code == Some(3), "exit {:?} instead of 3\n{}\n{}", run.code, run.stdout, run.log);
    if let Ok(report) = run.report() {
        ensure!(report.verdict != "verified", "verified, although something was hidden\n{report}");
    }
    Ok(())
}

/// A green run.
pub fn assert_green(run: &Finished) -> Result<()> {
    run.expect(0).map(drop)
}

/// A run that did its work, and still owes its message.
pub fn assert_owed(run: &Finished) -> Result<()> {
    ensure!(run.expect(3)?.verdict == "verified", "{}", run.report()?);
    Ok(())
}

/// Exactly one message tells of a commit; and no message of the room is there twice.
pub fn assert_told_once(lab: &Lab, commit: &str, sign: &str) -> Result<()> {
    let about = about(lab, commit);
    ensure!(about.len() == 1, "{} messages tell of {commit}: {about:#?}", about.len());
    ensure!(about.iter().all(|message| message.body.starts_with(sign)), "not {sign}: {about:#?}");
    assert_none_twice(lab)
}

/// No message of the room is there twice.
pub fn assert_none_twice(lab: &Lab) -> Result<()> {
    let mut seen = BTreeSet::new();
    for message in lab.matrix.messages() {
        ensure!(seen.insert((message.thread.clone(), message.body.clone())), "twice: {message:#?}");
    }
    Ok(())
}

/// The messages outside threads whose first line names a commit.
pub fn about(lab: &Lab, commit: &str) -> Vec<Message> {
    let short: String = commit.chars().take(7).collect();
    lab.matrix.top().into_iter().filter(|message| message.first_line().contains(&short)).collect()
}

/// The fault is over: the next run for the commit is green, and tells of it once.
pub async fn assert_cured(lab: &Lab, commit: &str) -> Result<()> {
    matrix::over(lab);
    lab.api.faults.clear();
    lab.matrix.faults.clear();
    lab.flux.artifacts.faults.clear();
    let run = lab.run_for(commit).await?;
    ensure!(run.code == Some(0), "exit {:?} after the fault was over\n{}\n{}", run.code, run.stdout, run.log);
    ensure!(!about(lab, commit).is_empty(), "nobody was told of {commit}\n{}", run.log);
    assert_none_twice(lab)
}
