//! The changes that scenarios make to the shop's policies, and how its messages are read.

pub use crate::world::rules::{SESSIONS_INGRESS, SHOP, STORE, egress, ingress, sessions_egress};
use crate::world::{
    Message, Report, Scene,
    report::{Flow, Origin},
};
use anyhow::Result;

/// The only source pods.
pub const WEB: (&str, &str) = ("shop", "app=web");
/// The only target pods.
pub const DB: (&str, &str) = ("store", "app=db");

/// Appends to a file in the scene's repository.
pub fn append(scene: &Scene, path: &str, text: &str) -> Result<()> {
    let before = scene.git.read(path)?;
    scene.git.write(path, &(before + &scene.text(text)))
}

/// Takes one piece of text out of a file.
pub fn cut(scene: &Scene, path: &str, text: &str) -> Result<()> {
    scene.git.replace(path, &scene.text(text), "")
}

/// Opens a flow from the shop's web to a port of the database, on both sides.
pub fn open_both_sides(scene: &Scene, port: u16) -> Result<()> {
    append(scene, SHOP, &egress(port))?;
    append(scene, STORE, &ingress("web", port))
}

/// Closes the sessions flow on both sides.
pub fn close_sessions(scene: &Scene) -> Result<()> {
    cut(scene, SHOP, &sessions_egress())?;
    cut(scene, STORE, SESSIONS_INGRESS)
}

/// Touches a file that no policy is made of.
pub fn touch_readme(scene: &Scene, text: &str) -> Result<()> {
    scene.git.write("README.md", text)
}

/// The one flow from the shop's web to a port of the database.
pub fn web_to_db<'a>(scene: &Scene, report: &'a Report, port: u16) -> &'a Flow {
    report.flow(&scene.text("xx-shop/web"), &scene.text("xx-store/db"), port)
}

/// What a flow's row says: before, declared, live, observed, result.
pub fn row(flow: &Flow) -> [&str; 5] {
    [flow.before.as_deref().unwrap_or("-"), &flow.declared, &flow.live, &flow.observed, &flow.result]
}

/// A place is right if a reader who goes there sees what is meant: the field itself, or the list that it stands in.
pub fn assert_place(place: Option<&Origin>, file: &str, line: u32) {
    let near = place.and_then(|place| place.line).is_some_and(|at| at <= line && line - at <= 2);
    assert!(near && place.is_some_and(|place| place.file == file), "{file}:{line} is meant, not {place:?}");
}

/// A commit as messages name it.
pub fn short(commit: &str) -> String {
    format!("main@{}", commit.chars().take(7).collect::<String>())
}

/// The first line alone tells the sign and the merge.
pub fn assert_opens(message: &Message, sign: &str, commit: &str) {
    let line = message.first_line();
    assert!(line.starts_with(sign), "the first line begins with {sign}: {}", message.body);
    assert!(line.contains(&short(commit)), "the first line names {}: {}", short(commit), message.body);
}
