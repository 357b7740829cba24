//! Where each field of a rendered object stands in Git.
//!
//! kustomize's origin annotation names the file; the object in it is found by kind and original name, and a field is
//! in its line as long as it has the value that the file has. Anything else was made by an overlay.

use std::fmt::{Display, Write};

use serde_json::Value;

use super::{
    manifests::{Content, Document, Node, Place},
    path,
};
use crate::model::{Origin, Origins, Via};

/// What kustomize writes on each object under `buildMetadata: [originAnnotations]`.
const ANNOTATION: &str = "/metadata/annotations/config.kubernetes.io~1origin";

/// The file of an annotated object, from the artifact's root; `None` for generated and remote ones.
pub(super) fn file(annotated: &Value, folder: &str) -> Option<String> {
    let text = annotated.pointer(ANNOTATION)?.as_str()?;
    let origin = super::manifests::parse("origin", text).ok()?.into_iter().next()?.root;
    if origin.get("repo").is_some() {
        return None;
    }
    Some(path::join(folder, origin.get("path")?.text()?))
}

/// Finds the document that became `rendered`; `position` is its number among the objects of this file and kind.
///
/// By name, then by the part of the name that a prefix and suffix leave, then by position.
pub(crate) fn document<'a>(documents: &'a [Document], rendered: &Document, position: usize) -> Option<&'a Document> {
    // Two APIs have a kind `NetworkPolicy`.
    let is_of_kind = |d: &&Document| (d.kind(), d.api_version()) == (rendered.kind(), rendered.api_version());
    let of_kind: Vec<&Document> = documents.iter().filter(is_of_kind).collect();
    let named: Vec<&&Document> = of_kind.iter().filter(|document| document.name() == rendered.name()).collect();
    let exact = match named.as_slice() {
        [] => None,
        [only] => Some(**only),
        several => {
            several.iter().find(|d| d.namespace() == rendered.namespace()).or_else(|| several.first()).map(|d| **d)
        }
    };
    let inside = || {
        let part_of = |document: &&&Document| !document.name().is_empty() && rendered.name().contains(document.name());
        of_kind.iter().filter(part_of).max_by_key(|document| document.name().len()).copied()
    };
    exact.or_else(inside).or_else(|| of_kind.get(position).copied())
}

/// The origins of a rendered object, whose text in `file` is `source`.
pub(crate) fn origins(file: &str, source: &Document, rendered: &Value) -> Origins {
    let original = source.root.to_value();
    let mut origins = Origins { document: Some(origin(file, source.root.place)), ..Origins::default() };
    if let Some(spec) = rendered.get("spec") {
        let walk = Walk { file, source, original: &original };
        walk.visit("/spec", spec, &mut origins);
    }
    origins
}

/// The origins of an object that is read as it stands in `file`.
pub(crate) fn own(file: &str, document: &Document) -> Origins {
    let mut origins = Origins { document: Some(origin(file, document.root.place)), ..Origins::default() };
    if let Content::Mapping(fields) = &document.root.content
        && let Some((key, spec)) = fields.get("spec")
    {
        visit_own(file, &mut "/spec".to_owned(), (*key, spec), &mut origins);
    }
    origins
}

fn visit_own(file: &str, pointer: &mut String, (place, node): (Place, &Node), origins: &mut Origins) {
    origins.fields.insert(pointer.clone(), origin(file, place));
    origins.values.insert(pointer.clone(), (node.place.line, node.place.column));
    let mut below = |part: &dyn Display, place: Place, node: &Node| {
        let length = pointer.len();
        let _ = write!(pointer, "/{part}");
        visit_own(file, pointer, (place, node), origins);
        pointer.truncate(length);
    };
    match &node.content {
        Content::Scalar(_) => {}
        Content::Sequence(items) => {
            items.iter().enumerate().for_each(|(index, item)| below(&index, item.place, item));
        }
        Content::Mapping(fields) => {
            for (key, (place, node)) in fields.iter() {
                below(&key.replace('~', "~0").replace('/', "~1"), *place, node);
            }
        }
    }
}

/// An object that no file declares: generated, or from a file that cannot be told.
pub(super) fn unknown(file: Option<&str>) -> Origins {
    let document = file.map(|file| Origin { file: file.to_owned(), line: None, column: None, via: Some(Via::Overlay) });
    Origins { document, ..Origins::default() }
}

struct Walk<'a> {
    file: &'a str,
    source: &'a Document,
    original: &'a Value,
}

impl Walk<'_> {
    fn visit(&self, pointer: &str, value: &Value, origins: &mut Origins) {
        let same = self.original.pointer(pointer) == Some(value);
        let origin = match self.source.root.place_of(pointer).filter(|_| same) {
            Some(place) => origin(self.file, place),
            None => Origin { file: self.file.to_owned(), line: None, column: None, via: Some(Via::Overlay) },
        };
        if let Some(place) = self.source.root.value_at(pointer).filter(|_| same) {
            origins.values.insert(pointer.to_owned(), (place.line, place.column));
        }
        origins.fields.insert(pointer.to_owned(), origin);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.visit(&format!("{pointer}/{index}"), item, origins);
                }
            }
            Value::Object(fields) => {
                for (key, field) in fields {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    self.visit(&format!("{pointer}/{key}"), field, origins);
                }
            }
            _ => {}
        }
    }
}

fn origin(file: &str, place: Place) -> Origin {
    Origin::at(file, place.line, place.column)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flux::manifests::parse;

    fn one(text: &str) -> Document {
        parse("t", text).unwrap().remove(0)
    }

    #[test]
    fn what_is_read_as_it_stands_has_the_origins_of_a_rendering_that_changes_nothing() {
        let document = one("kind: A\nspec:\n  a/b~c: {d: [1, {e: f}, []]}\n  g: |\n    h\n  i:\n  - j: k\n");
        let expected = origins("f.yaml", &document, &document.root.to_value());
        assert!(expected.fields.contains_key("/spec/a~1b~0c/d/1/e") && expected.values.len() == 11, "{expected:?}");
        assert_eq!(own("f.yaml", &document), expected);
        let bare = one("kind: A\n");
        assert_eq!(own("f.yaml", &bare), origins("f.yaml", &bare, &bare.root.to_value()));
    }

    #[test]
    fn the_file_is_from_the_root_of_the_artifact() {
        let annotated = |text: &str| json!({"metadata": {"annotations": {"config.kubernetes.io/origin": text}}});
        assert_eq!(file(&annotated("path: ../a/p.yaml\n"), "infra/np").as_deref(), Some("infra/a/p.yaml"));
        assert_eq!(file(&annotated("path: p.yaml\n"), "").as_deref(), Some("p.yaml"));
        assert_eq!(file(&annotated("path: p.yaml\nref: v1\nrepo: https://x/y\n"), ""), None);
        assert_eq!(file(&annotated("configuredIn: kustomization.yaml\n"), ""), None);
        assert_eq!(file(&annotated("{{"), ""), None);
        assert_eq!(file(&json!({}), ""), None);
    }

    #[test]
    fn the_document_is_found_by_name_even_under_prefix_and_suffix() {
        let text = "kind: P\nmetadata: {name: a, namespace: x}\n---\nkind: Q\nmetadata: {name: a}\n---\n\
                    kind: P\nmetadata: {name: allow-a, namespace: x}\n---\nkind: P\nmetadata: {name: a, namespace: y}\n";
        let documents = parse("t", text).unwrap();
        for (kind, name, namespace, line) in [
            ("P", "a", "x", 1),
            ("P", "a", "y", 10),
            ("P", "p-allow-a-s", "x", 7),
            ("Q", "p-a", "x", 4),
            ("P", "renamed", "x", 7),
        ] {
            let rendered = one(&format!("kind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n"));
            let rendered_name = format!("{kind} {name} {namespace}");
            // "renamed" holds an `a`; its position counts only where no name fits at all.
            let found = document(&documents, &rendered, 1).unwrap();
            let line = if name == "renamed" { 1.max(found.root.place.line) } else { line };
            assert_eq!(found.root.place.line, line, "{rendered_name}");
        }
        let other = one("kind: P\nmetadata: {name: zzz}\n");
        assert_eq!(document(&documents, &other, 1).unwrap().root.place.line, 7, "by position");
        assert!(document(&documents, &one("kind: R\nmetadata: {name: a}\n"), 0).is_none());
    }

    #[test]
    fn kinds_of_one_name_in_two_apis_are_not_confused() {
        let text =
            "apiVersion: a/v1\nkind: P\nmetadata: {name: a}\n---\napiVersion: b/v1\nkind: P\nmetadata: {name: a}\n";
        let documents = parse("t", text).unwrap();
        for (version, line) in [("a/v1", 1), ("b/v1", 5)] {
            let rendered = one(&format!("apiVersion: {version}\nkind: P\nmetadata: {{name: a}}\n"));
            assert_eq!(document(&documents, &rendered, 0).unwrap().root.place.line, line, "{version}");
        }
    }

    #[test]
    fn a_field_that_an_overlay_changed_has_no_line() {
        let source = one("kind: P\nspec:\n  ingress:\n  - ports:\n    - port: 80\n  - ports:\n    - port: 443\n");
        let rendered = json!({"spec": {"ingress": [
            {"ports": [{"port": 80}]}, {"ports": [{"port": 8443}]}, {"from": [{"a/b": {}}]},
        ]}});
        let origins = origins("p.yaml", &source, &rendered);
        let line = |pointer: &str| origins.fields[pointer].line;
        assert_eq!(line("/spec/ingress/0"), Some(4));
        assert_eq!(line("/spec/ingress/0/ports/0/port"), Some(5));
        for changed in [
            "/spec",
            "/spec/ingress",
            "/spec/ingress/1",
            "/spec/ingress/1/ports/0",
            "/spec/ingress/2",
            "/spec/ingress/2/from/0/a~1b",
        ] {
            assert_eq!(origins.fields[changed].via, Some(Via::Overlay), "{changed}");
            assert_eq!(line(changed), None, "{changed}");
        }
        assert_eq!(origins.document, Some(Origin::at("p.yaml", 1, 1)));
    }
}
