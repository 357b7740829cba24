//! `netpol-verify diff`.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::{self, BufWriter, Write},
    mem::ManuallyDrop,
};

use super::{Failure, Global, Output, places, sets};
use crate::{
    engine::{
        normal::{self, Equality},
        reach::{
            Questions, Reach,
            difference::{Change, Comparison},
        },
    },
    input::InputSet,
    model::{Endpoint, PolicyDocument, PolicyRef},
    parallel,
    report::{
        diff::{self, Kind, PolicyChange},
        flows::Format,
        svg::Arrow,
    },
};

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DiffArgs {
    /// The first set: a file or folder, `-` for standard input, REV:PATH of the Git repository around the current folder,
    /// with PATH from its root (./PATH from the current folder), or `live`: the cluster of the kubeconfig.
    #[arg(value_name = "BEFORE")]
    before: String,
    /// The second set: the same.
    #[arg(value_name = "AFTER")]
    after: String,
    /// Take pods, workloads, namespaces and Services from there for both, in place of those among the policies.
    #[arg(long, value_name = "PATH|live")]
    workloads: Option<String>,
    #[command(flatten)]
    reading: sets::Reading,
}

const EXAMPLES: &str = "Examples:
  netpol-verify diff origin/main:infra/k8s infra/k8s
  netpol-verify diff main:policies feature:policies --workloads cluster.yaml -o markdown
  netpol-verify diff origin/main:infra/k8s infra/k8s -o svg > flows.svg
  netpol-verify diff live infra/k8s --workloads live
  kubectl get ns,pods,deploy,rs,svc -A -o yaml | netpol-verify diff old new --workloads -

A flow is added (+), removed (-) or changed (~), with the rules and policies that make the difference by file:line.
Outputs (-o): text, json (docs/schemas/diff.json), markdown: a table for the pull request, sarif: for what code hosts show
beside the lines of a change, svg: a picture.

Exit codes: 0 no flow differs; 1 flows differ; 2 usage or bad input; 3 a kind of policy is not understood, or the
cluster could not be read; 4 nothing to compare.";

/// Prints the flows that two sets decide otherwise.
pub async fn diff(args: DiffArgs, global: &Global) -> Result<u8, Failure> {
    let names = [args.after.clone(), args.before.clone()];
    // The process ends with this command, and the system frees all at once what would take long to take apart.
    let sets = ManuallyDrop::new(loaded(args, global).await?);
    let (before, after, on) = &*sets;
    let (here, there) = (on.as_ref().unwrap_or(before), on.as_ref().unwrap_or(after));
    if !here.has_workloads() && !there.has_workloads() {
        let what = "there are no pods or workloads that flows could be between: give them with --workloads";
        return Err(Failure { code: super::NOTHING, error: anyhow::anyhow!(what) });
    }
    let worlds = || parallel::both(|| before.world(here, Some(after)), || after.world(there, Some(before)));
    let worlds = ManuallyDrop::new(sets::timed("classes", worlds));
    let (was, is) = &*worlds;
    let questions = Questions::of(&[was, is]);
    let asking = |world| Reach::asking(world, questions.clone());
    let compiled = || parallel::both(|| asking(was), || asking(is));
    let compiled = ManuallyDrop::new(sets::timed("compile", compiled));
    let (was, is) = &*compiled;
    let comparison = ManuallyDrop::new(sets::timed("compare", || Comparison::new(was, is)));
    let place = places::first(&after.documents).or_else(|| places::first(&before.documents));
    let (policies, mut flows) = (sets::timed("policies", || policies(before, after)), 0);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = sets::timed("decide and print", || match global.output {
        Output::Svg => draw(&comparison, &policies, &mut flows, &mut out),
        Output::Sarif => {
            sarif(&comparison, policies, (&names.each_ref().map(String::as_str), place), &mut flows, &mut out)
        }
        output => print(&comparison, &policies, output.format(), &mut flows, &mut out),
    });
    sets::written(written.and_then(|()| out.flush()))?;
    Ok(u8::from(flows > 0))
}

/// The two sets, and the one that has the workloads for both. There is one look at the cluster, whatever is asked of it.
async fn loaded(args: DiffArgs, global: &Global) -> Result<(InputSet, InputSet, Option<InputSet>), Failure> {
    let DiffArgs { before, after, workloads, reading } = args;
    let all = || [Some(&before), Some(&after), workloads.as_ref()].into_iter().flatten();
    sets::once(all().filter(|name| *name != sets::LIVE))?;
    let is_asked = all().any(|name| name == sets::LIVE);
    let live = if is_asked { Some(reading.load(sets::LIVE, global).await?) } else { None };
    let load = async |name: &str| match &live {
        Some(live) if name == sets::LIVE => Ok(live.clone()),
        _ => reading.load(name, global).await,
    };
    let sets = if [&before, &after].iter().any(|name| *name == sets::LIVE) {
        [load(&before).await?, load(&after).await?]
    } else {
        reading.load_both(&before, &after)?
    };
    let on = match &workloads {
        Some(from) => Some(load(from).await?),
        None => None,
    };
    for (name, set) in ["first", "second"].iter().zip(&sets) {
        if set.is_empty() {
            tracing::warn!("the {name} set has no policies and no workloads: is it the right path?");
        }
    }
    if sets.iter().any(|set| set.lacks_calico) {
        tracing::warn!("{}", sets::LACKS_CALICO);
    }
    let [before, after] = sets;
    Ok((before, after, on))
}

fn print(
    comparison: &Comparison<'_, '_>,
    policies: &[PolicyChange],
    format: Format,
    flows: &mut usize,
    out: &mut impl Write,
) -> io::Result<()> {
    out.write_all(diff::head(format).as_bytes())?;
    comparison.changes(|change| {
        let line = diff::row(format, &change, *flows == 0);
        *flows += 1;
        out.write_all(line.as_bytes())
    })?;
    out.write_all(diff::tail(format, *flows, policies, &workloads(comparison)).as_bytes())
}

/// All flows that differ, where they have to be known before the first of them is told.
fn changes(comparison: &Comparison<'_, '_>) -> Vec<Change> {
    let mut all = Vec::new();
    let Ok(()) = comparison.changes(|change| -> Result<(), Infallible> {
        all.push(change);
        Ok(())
    });
    all
}

fn draw(
    comparison: &Comparison<'_, '_>,
    policies: &[PolicyChange],
    flows: &mut usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let arrows: Vec<Arrow> = changes(comparison).iter().map(diff::arrow).collect();
    *flows = arrows.len();
    out.write_all(diff::picture(arrows, policies, &workloads(comparison)).as_bytes())
}

/// SARIF, with files as the current folder has them; what has no place of its own is at `place`, a file of the sets.
fn sarif(
    comparison: &Comparison<'_, '_>,
    mut policies: Vec<PolicyChange>,
    (sets, place): (&[&str], Option<&str>),
    flows: &mut usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut changes = changes(comparison);
    *flows = changes.len();
    let of_flows = changes.iter_mut().flat_map(|change| &mut change.because);
    let of_policies = policies.iter_mut().flat_map(|change| [&mut change.before, &mut change.after]).flatten();
    let shown = |file: &str| places::in_sets(file, sets).unwrap_or_else(|| file.to_owned());
    for origin in of_flows.chain(of_policies) {
        origin.file = shown(&origin.file);
    }
    let place = place.map_or_else(|| sets.first().copied().unwrap_or_default().to_owned(), shown);
    serde_json::to_writer_pretty(&mut *out, &diff::sarif(&changes, &policies, &place, env!("CARGO_PKG_VERSION")))?;
    out.write_all(b"\n")
}

fn workloads(comparison: &Comparison<'_, '_>) -> Vec<(Kind, Endpoint)> {
    let kind = |is_new| if is_new { Kind::Added } else { Kind::Removed };
    comparison.workloads().into_iter().map(|(is_new, endpoint)| (kind(is_new), endpoint)).collect()
}

/// The policies that differ in meaning, by name.
fn policies(before: &InputSet, after: &InputSet) -> Vec<PolicyChange> {
    let (old, new) = (by_id(before), by_id(after));
    let mut ids: Vec<&PolicyRef> = old.keys().chain(new.keys()).copied().collect();
    ids.sort();
    ids.dedup();
    let change = |id: &&PolicyRef| {
        let (was, is) = (old.get(*id).copied(), new.get(*id).copied());
        let kind = match (was, is) {
            (None, _) => Kind::Added,
            (_, None) => Kind::Removed,
            (Some(was), Some(is)) if !is_same(was, is) => Kind::Changed,
            _ => return None,
        };
        let place = |document: Option<&PolicyDocument>| document.and_then(|d| d.origins.document.clone());
        Some(PolicyChange { kind, policy: (*id).clone(), before: place(was), after: place(is) })
    };
    ids.iter().filter_map(change).collect()
}

fn by_id(set: &InputSet) -> BTreeMap<&PolicyRef, &PolicyDocument> {
    set.documents.iter().map(|document| (&document.id, document)).collect()
}

/// Whether two documents mean the same. Most of two revisions is the same to the letter.
fn is_same(was: &PolicyDocument, is: &PolicyDocument) -> bool {
    was.object == is.object || normal::spec_equal(was, is) != Equality::Different
}
