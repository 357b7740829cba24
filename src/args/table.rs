//! `netpol-verify table`.

use std::io::{self, Write};

use super::{Failure, Global, NAMESPACE, NOTHING, Output, sets};
use crate::{
    engine::table,
    input::{Comments, InputSet},
    model::{Labels, NamespaceInfo, PolicyDocument, PolicyRef},
    report::table::{self as report, Line},
};

/// The annotation that gives the reason of all rules of a policy.
const REASON: &str = "netpol-verify/reason";

/// Arguments of `table`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct TableArgs {
    #[command(flatten)]
    set: sets::SetArgs,
}

const EXAMPLES: &str = "Examples:
  netpol-verify table -f infra/k8s --namespace shop >> docs/network-policies.md
  netpol-verify table -f infra/k8s -o json

Here --namespace is the one whose allow-list is printed; without it that of every namespace which has policies.
The reason of a rule is the YAML comment above it, or behind it on its line; else the annotation netpol-verify/reason of
its policy. `# pg01.example.org: PostgreSQL` above a rule for addresses also names them.

Outputs (-o): text and markdown: the tables; json (docs/schemas/table.json): one object a line for each namespace.

Exit codes: 0 printed; 2 usage or bad input; 3 a kind of policy is not understood, or the
cluster could not be read; 4 no policy.";

/// Prints the allow-lists.
pub async fn table(args: &TableArgs, global: &Global) -> Result<u8, Failure> {
    let set = args.set.load(global).await?;
    let asked = Some(global.namespace.as_str()).filter(|name| *name != NAMESPACE);
    let namespaces = namespaces(asked, &set)?;
    let mut comments = Comments::of(args.set.files());
    let mut out = io::stdout().lock();
    for (number, namespace) in namespaces.iter().enumerate() {
        let rows = table::rows(&set.read.policies, namespace, &labels(&set, namespace));
        let line = |row| {
            let row: &table::Row = row;
            let comment = row.origin.as_ref().and_then(|origin| comments.at(origin));
            Line::new(row, comment.or_else(|| reason(&set.documents, &row.policy)).as_deref())
        };
        let lines: Vec<Line<'_>> = rows.iter().map(line).collect();
        let text = match global.output {
            Output::Json | Output::Jsonl | Output::Sarif => format!("{}\n", report::json(namespace, &lines)),
            Output::Text | Output::Markdown | Output::Svg => {
                format!("{}{}", if number > 0 { "\n" } else { "" }, report::markdown(namespace, &lines))
            }
        };
        if let Err(error) = out.write_all(text.as_bytes()) {
            return sets::written(Err(error));
        }
    }
    Ok(0)
}

/// The one that was asked for, which a policy must be about, else every one that has policies of its own.
fn namespaces(asked: Option<&str>, set: &InputSet) -> Result<Vec<String>, Failure> {
    let mut known: Vec<String> = set.documents.iter().filter_map(|document| document.id.namespace.clone()).collect();
    known.sort();
    known.dedup();
    let nothing = |what: String| Failure { code: NOTHING, error: anyhow::anyhow!(what) };
    match asked {
        Some(name) if known.iter().any(|known| known == name) || is_concerned(set, name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(nothing(format!("no policy of namespace {name} is in the input: is it the right folder?"))),
        None if !known.is_empty() => Ok(known),
        None if set.read.policies.is_empty() => {
            Err(nothing("the input has no policies: is it the right folder?".to_owned()))
        }
        None => Err(nothing(
            "the input has cluster-wide policies only: name the namespace that they are to be told of with --namespace"
                .to_owned(),
        )),
    }
}

/// Whether a cluster-wide policy is about pods of the namespace.
fn is_concerned(set: &InputSet, namespace: &str) -> bool {
    let labels = labels(set, namespace);
    set.read.policies.iter().any(|policy| table::is_about(policy, namespace, &labels))
}

/// The labels of a namespace; one that no object declares has that of its name.
fn labels(set: &InputSet, namespace: &str) -> Labels {
    let declared = set.snapshot.namespaces.get(namespace).cloned();
    declared.unwrap_or_else(|| NamespaceInfo::undeclared(namespace)).labels
}

fn reason(documents: &[PolicyDocument], id: &PolicyRef) -> Option<String> {
    let document = documents.iter().find(|document| document.id == *id)?;
    let annotations = document.object.get("metadata")?.get("annotations")?;
    annotations.get(REASON)?.as_str().map(str::to_owned)
}
