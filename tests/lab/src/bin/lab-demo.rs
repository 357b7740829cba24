//! `make demo`: one story of four merges in the first customer's cluster, played in the lab. Prints each message as the
//! room shows it, and ends with the path of a page that shows them as a client does.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use e2e::story::{ACCOUNT, BANKING, BANKING_INGRESS, Chapter, TITLES, egress, html, indented, pasted};
use lab::world::{Finished, Lab, Setup};
use tokio::process::Command;

/// What can make a picture of a page.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

#[tokio::main]
async fn main() -> ExitCode {
    match story().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn story() -> Result<()> {
    let began = Instant::now();
    // All targets of a pod at once: who looks on waits for silence once, not three times.
    let config = serde_json::json!({"probe": {"settle": "1s", "probesPerPod": 32}});
    let lab = Lab::start(Setup { fixture: "plana", config, calico: true, ..Setup::default() }).await?;
    let (pods, policies) = (lab.api.all("pods").len(), lab.api.all("networkpolicies.networking.k8s.io").len());
    println!(
        "A cluster of {pods} pods and {policies} policies, Git, Flux and a Matrix room are up after {:.1?}.",
        began.elapsed()
    );
    let mut chapters = Vec::new();

    begin(TITLES[0]);
    let run = lab.run_for(&lab.first_commit).await?;
    chapters.push(tell(&lab, TITLES[0], &run, 0)?);

    begin(TITLES[1]);
    let before = lab.git.read(ACCOUNT)?;
    lab.git.write(ACCOUNT, &(before + &egress("Figures on the start page", "pulse-data", 8000)));
    let run = lab.merge_and_run("pulse-account: read figures from pulse-data").await?;
    chapters.push(tell(&lab, TITLES[1], &run, 1)?);

    begin(TITLES[2]);
    let (file, line, entry) = pasted(run.report()?)?;
    lab.git.insert_after(file, line, entry)?;
    let run = lab.merge_and_run("pulse-data: let the account API in").await?;
    chapters.push(tell(&lab, TITLES[2], &run, 0)?);

    begin(TITLES[3]);
    lab.git.replace(ACCOUNT, &egress("PSD2 proxy", "pulse-banking", 3200), "")?;
    lab.git.replace(BANKING, BANKING_INGRESS, "  ingress: []\n")?;
    let commit = lab.merge("pulse-banking: closed until the audit").await?;
    lab.edit("redis", "network-policy", "6379", "6380").await?;
    let run = lab.run_for(&commit).await?;
    chapters.push(tell(&lab, TITLES[3], &run, 1)?);

    show(&chapters).await?;
    println!("(all of this took {:.1?})", began.elapsed());
    Ok(())
}

fn begin(title: &str) {
    println!("\n━━ {title}");
}

/// Prints the newest message and what stands in its thread.
fn tell(lab: &Lab, title: &str, run: &Finished, code: i32) -> Result<Chapter> {
    let message = lab.matrix.top().pop().with_context(|| format!("the room is empty\n{}", run.log))?;
    let thread = lab.matrix.thread(&message);
    println!("{}", message.body);
    for reply in &thread {
        println!("{}", indented(&reply.body));
    }
    println!("(exit code {})", run.code.map_or_else(|| "none".to_owned(), |code| code.to_string()));
    if run.code != Some(code) {
        let log = folder()?.join("demo.log");
        std::fs::write(&log, format!("{}\n{}", run.report()?, run.log))?;
        bail!(
            "The story wants exit code {code} here. On a machine that is busy packets come too late for what is seen to \
             be believed, and the verifier says so: then run it again when the machine is idle. All that it said: {}",
            log.display()
        );
    }
    Chapter::new(title, &message, &thread)
}

/// Where the demonstration leaves its files.
fn folder() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache");
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?)
}

/// Writes the page, and a picture of it where there is a browser.
async fn show(chapters: &[Chapter]) -> Result<()> {
    let page = folder()?.join("demo.html");
    std::fs::write(&page, html(chapters)).with_context(|| format!("cannot write {}", page.display()))?;
    println!("\nThe four messages, as a client shows them: {}", page.display());
    if let Some(picture) = picture(&page).await {
        println!("The same as a picture: {picture}");
    }
    Ok(())
}

async fn picture(page: &Path) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let browsers = BROWSERS.iter().flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)));
    let browser = browsers.into_iter().find(|file| file.is_file())?;
    let picture = page.with_extension("png");
    let shot = format!("--screenshot={}", picture.display());
    let mut command = Command::new(browser);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=900,2300", &shot]);
    command.arg(format!("file://{}", page.display()));
    let made = command.output().await.ok()?.status.success() && picture.is_file();
    made.then(|| picture.display().to_string())
}
