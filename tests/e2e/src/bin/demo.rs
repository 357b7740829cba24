//! `make demo-cluster`: one story of four merges in the first customer's cluster. Prints each message as a second user
//! reads it from the room, and ends with the path of a page that shows them as a client does.

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result, ensure};
use e2e::{
    DataPlane, Finished, Scene, Setup, scenario,
    story::{ACCOUNT, BANKING, BANKING_INGRESS, Chapter, TITLES, egress, html, indented, pasted},
};

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
    chapters.push(tell(scene, TITLES[0], &run, 0).await?);

    let before = scene.git.read(ACCOUNT)?;
    scene.git.write(ACCOUNT, &(before + &egress("Figures on the start page", "pulse-data", 8000)))?;
    let run = scene.merge_and_run("pulse-account: read figures from pulse-data").await?;
    chapters.push(tell(scene, TITLES[1], &run, 1).await?);

    let (file, line, entry) = pasted(run.report()?)?;
    scene.git.insert_after(file, line, entry)?;
    let run = scene.merge_and_run("pulse-data: let the account API in").await?;
    chapters.push(tell(scene, TITLES[2], &run, 0).await?);

    scene.git.replace(ACCOUNT, &egress("PSD2 proxy", "pulse-banking", 3200), "")?;
    scene.git.replace(BANKING, BANKING_INGRESS, "  ingress: []\n")?;
    let commit = scene.merge("pulse-banking: closed until the audit").await?;
    scene.cluster.kubectl_edit("redis", "networkpolicy/network-policy", "s/6379/6380/").await?;
    let run = scene.verifier.run_for(&commit).await?;
    chapters.push(tell(scene, TITLES[3], &run, 1).await?);

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
    Chapter::new(title, &message, &thread)
}
