//! Documents, each by itself: most of the work is with policies and pod templates, which need no other to be understood.

use foldhash::HashMap;

use super::{
    Fault, Parsed, Source,
    cursor::Cursor,
    pods::{self, Template},
    policies,
};
use crate::{
    flux::manifests::{Document, ManifestError},
    model::{PolicyDocument, Workload},
    parallel,
};

/// A document by itself.
pub(super) enum Understood {
    /// One with a policy, or what is wrong with it; and what is odd.
    Policy(Result<PolicyDocument, Vec<Fault>>, Vec<ManifestError>),
    /// Another one; `None` where it decides nothing about flows.
    Object(Result<Option<Object>, ManifestError>),
}

/// An object's name, and its pod template if its kind has one.
pub(super) type Object = (Workload, Option<Result<Template, ManifestError>>);

impl Understood {
    /// The same of an equal document in a file of another name; `None` where something is told of it, with that name.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Policy(Ok(policy), warnings) if warnings.is_empty() => {
                Some(Self::Policy(Ok(policy.clone()), Vec::new()))
            }
            Self::Object(Ok(None)) => Some(Self::Object(Ok(None))),
            Self::Object(Ok(Some((id, None)))) => Some(Self::Object(Ok(Some((id.clone(), None))))),
            Self::Object(Ok(Some((id, Some(Ok(template)))))) => {
                Some(Self::Object(Ok(Some((id.clone(), Some(Ok(template.clone())))))))
            }
            Self::Policy(..) | Self::Object(_) => None,
        }
    }
}

/// The documents of each file.
pub(super) fn each(parsed: &[Parsed], lenient: bool) -> Vec<Vec<Understood>> {
    parallel::each(parsed, |file| understood(file, lenient))
}

/// The documents of each file of two sets. What stands in equal files at one place is understood once.
pub(super) fn both([before, after]: [&[Parsed]; 2], lenient: bool) -> [Vec<Vec<Understood>>; 2] {
    let was = each(before, lenient);
    let is_plain = |file: &&Parsed| file.origins.is_empty();
    let known: HashMap<_, _> =
        before.iter().zip(&was).filter(|(file, _)| is_plain(file)).map(|(f, u)| (place(f), u)).collect();
    let is = parallel::each(after, |file| {
        let twin = known.get(&place(file)).filter(|_| is_plain(&file));
        let again = twin.and_then(|twin| twin.iter().map(Understood::again).collect());
        again.unwrap_or_else(|| understood(file, lenient))
    });
    [was, is]
}

/// Equal for files with the same documents and the same origins.
fn place(file: &Parsed) -> (usize, &str) {
    (file.documents.as_ptr().addr(), &file.source.name)
}

/// The documents of a file, each by itself.
fn understood(file: &Parsed, lenient: bool) -> Vec<Understood> {
    let of = |(index, document): (usize, &Document)| {
        let version = document.api_version();
        let group = group(version);
        if version.is_empty() || !policies::concerns(group, document.kind()) {
            return Understood::Object(object(&file.source, document, group));
        }
        let mut warnings = Vec::new();
        let place = (&file.source, document, file.origins.get(index));
        Understood::Policy(policies::document(place, (version, group), lenient, &mut warnings), warnings)
    };
    file.documents.iter().enumerate().map(of).collect()
}

/// What a document is, if it is of a kind that decides something.
fn object(source: &Source, document: &Document, group: &str) -> Result<Option<Object>, ManifestError> {
    let kind = document.kind();
    let path = template_path(group, kind);
    let is_slice = group == "discovery.k8s.io" && kind == "EndpointSlice";
    let is_version = policies::CALICO.contains(&group) && kind == "ClusterInformation";
    let is_plain = group.is_empty() && PLAIN.contains(&kind);
    if !(path.is_some() || is_version || is_slice || is_plain) {
        return Ok(None);
    }
    let cursor = Cursor { file: &source.shown, node: &document.root, name: "the document" };
    cursor.names()?;
    let name = cursor.text_at(&["metadata", "name"])?;
    let name = name.map_or_else(|| cursor.text_at(&["metadata", "generateName"]), |name| Ok(Some(name)))?;
    let Some(name) = name else { return Err(cursor.fault(format!("a {kind} without `metadata.name`"))) };
    let namespace = cursor.text_at(&["metadata", "namespace"])?.unwrap_or("default");
    let namespace = if is_version || matches!(kind, "Namespace" | "Node") { "" } else { namespace };
    let id = Workload { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
    let template = path.map(|path| pods::template(cursor, id.clone(), path));
    Ok(Some((id, template)))
}

/// The group of an `apiVersion`; nothing for the core group.
pub(super) fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

/// Kinds of the core group that decide something about flows, besides those with templates.
const PLAIN: [&str; 5] = ["Namespace", "Node", "Pod", "Service", "ServiceAccount"];

/// Where a kind has its pod template.
fn template_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    match (group, kind) {
        ("apps" | "extensions", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}
