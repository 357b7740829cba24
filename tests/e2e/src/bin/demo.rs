//! `make demo-cluster`: one story of four merges in the first customer's cluster. Prints each message as a second user
//! reads it from the room, and ends with the path of a page that shows them as a client does.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use e2e::{DataPlane, Finished, Scene, Setup, scenario};
use netpol_verify::report::{
    Message,
    page::{Shown, page},
};

const ACCOUNT: &str = "infra/k8s/pulse-account/network-policy.yaml";
const BANKING: &str = "infra/k8s/pulse-banking/network-policy.yaml";
const BANKING_INGRESS: &str = "  ingress:
  # the account API is its only client
  - from:
    - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: pulse-account}}
      podSelector: {matchLabels: {app: api}}
    ports:
    - {protocol: TCP, port: 3200}
";

/// An egress rule of the account API to an app that has its namespace's name.
fn egress(comment: &str, app: &str, port: u16) -> String {
    format!(
        "  # {comment}
  - to:
    - namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {app}}}}}
      podSelector: {{matchLabels: {{app: {app}}}}}
    ports:
    - {{protocol: TCP, port: {port}}}
"
    )
}

/// What somebody did, and what the room then said.
struct Chapter {
    title: String,
    at: String,
    message: Message,
    thread: Vec<Message>,
}

fn main() -> ExitCode {
    let setup =
        Setup { fixture: "plana", data_planes: DataPlane::ALL, alone: true, real_names: true, ..Setup::default() };
    println!("Setting up the customer's namespaces, Git tree, Flux objects and Matrix room …");
    match scenario(setup, story) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn story(scene: &Scene) -> Result<()> {
    let mut chapters = Vec::new();

    let run = scene.verifier.run_for(&scene.first_commit).await?;
    chapters.push(tell(scene, "1. The verifier is installed and runs for the first time", &run, 0).await?);

    let before = scene.git.read(ACCOUNT)?;
    scene.git.write(ACCOUNT, &(before + &egress("Figures on the start page", "pulse-data", 8000)))?;
    let run = scene.merge_and_run("pulse-account: read figures from pulse-data").await?;
    let title = "2. A merge opens pulse-account → pulse-data:8000, but only the egress side";
    chapters.push(tell(scene, title, &run, 1).await?);

    let flow = run.report()?.flows.iter().find(|flow| !flow.entries.is_empty()).context("no entry to add")?;
    let entry = flow.entries.first().context("no entry to add")?;
    let (file, line) = (entry.file.as_deref().context("no file to add it to")?, entry.line.context("no line")?);
    scene.git.insert_after(file, line, &entry.entry)?;
    let run = scene.merge_and_run("pulse-data: let the account API in").await?;
    chapters.push(tell(scene, &format!("3. Somebody pastes that entry into {file} and merges"), &run, 0).await?);

    scene.git.replace(ACCOUNT, &egress("PSD2 proxy", "pulse-banking", 3200), "")?;
    scene.git.replace(BANKING, BANKING_INGRESS, "  ingress: []\n")?;
    let commit = scene.merge("pulse-banking: closed until the audit").await?;
    scene.cluster.kubectl_edit("redis", "networkpolicy/network-policy", "s/6379/6380/").await?;
    let run = scene.verifier.run_for(&commit).await?;
    let title = "4. A merge closes pulse-account → pulse-banking:3200, while somebody edits Redis' policy by hand";
    chapters.push(tell(scene, title, &run, 1).await?);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/demo-cluster.html");
    std::fs::write(&path, html(&chapters)).with_context(|| format!("cannot write {}", path.display()))?;
    println!("\nThe four messages, as a client shows them: {}", path.canonicalize()?.display());
    Ok(())
}

/// Prints the newest message and what stands in its thread.
async fn tell(scene: &Scene, title: &str, run: &Finished, code: i64) -> Result<Chapter> {
    println!("\n━━ {title}");
    let message = scene.room.last().await?;
    let thread = scene.room.thread(&message).await?;
    println!("{}", message.body);
    for reply in &thread {
        println!("{}", indented(&reply.body));
    }
    println!("(exit code {})", run.code);
    ensure!(run.code == code, "the story wants exit code {code} here\n{}", run.report()?);
    let read = |message: &e2e::Message| Message::from_content(&message.content).context("no text message");
    Ok(Chapter {
        title: title.to_owned(),
        at: message.at.clone(),
        thread: thread.iter().map(read).collect::<Result<_>>()?,
        message: read(&message)?,
    })
}

fn html(chapters: &[Chapter]) -> String {
    let shown: Vec<Shown<'_>> = chapters
        .iter()
        .map(|Chapter { title, at, message, thread }| Shown {
            sender: "netpol-verify",
            at,
            caption: title,
            message,
            thread,
        })
        .collect();
    page("What the room saw", &shown)
}

/// A thread's message, as far as it fits beside a story; the page has all of it.
fn indented(text: &str) -> String {
    const SHOWN: usize = 12;
    let mut lines: Vec<String> = text.lines().take(SHOWN).map(|line| format!("    │ {line}")).collect();
    let more = text.lines().count().saturating_sub(SHOWN);
    if more > 0 {
        lines.push(format!("    │ … {more} more lines in the thread"));
    }
    lines.join("\n")
}
