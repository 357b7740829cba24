//! `postBuild`: variables into the rendering, object by object, as kustomize-controller puts them in
//! (pkg/kustomize `SubstituteVariables`): the YAML of an object is expanded as text, read by YAML 1.1, and written anew.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{envsubst::expand, manifests};

/// An object with this label or annotation `disabled` is left as it is.
const KEY: &str = "kustomize.toolkit.fluxcd.io/substitute";

/// One entry of `spec.postBuild.substituteFrom`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// In the Kustomization's namespace.
    pub name: String,
    /// Whether it may be absent.
    pub optional: bool,
}

/// The references of a spec, in their order: a later one wins.
pub(super) fn references(spec: &Value) -> Vec<Reference> {
    let text = |item: &Value, key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let list = spec.pointer("/postBuild/substituteFrom").and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|item| Reference {
            kind: text(item, "kind"),
            name: text(item, "name"),
            optional: item.get("optional").and_then(Value::as_bool).unwrap_or_default(),
        })
        .collect()
}

/// The values for the expansion, and why they may not be all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    /// References that were not read, in words.
    pub(super) unread: Vec<String>,
}

impl Variables {
    /// Adds the data of a ConfigMap, over what is there.
    pub(super) fn add<'a>(&mut self, data: impl IntoIterator<Item = (&'a String, &'a String)>) {
        // Flux takes the newlines out, so that a value cannot break a line of YAML.
        let data = data.into_iter().map(|(name, value)| (name.clone(), value.replace('\n', "")));
        self.values.extend(data);
    }

    /// Adds `spec.postBuild.substitute`, which wins over all.
    pub(super) fn add_inline(&mut self, spec: &Value) {
        let inline = spec.pointer("/postBuild/substitute").and_then(Value::as_object);
        for (name, value) in inline.into_iter().flatten() {
            let text = value.as_str().map_or_else(|| value.to_string(), |text| text.replace('\n', ""));
            self.values.insert(name.clone(), text);
        }
    }

    /// Whether the controller would substitute at all.
    fn applies(&self, spec: &Value) -> bool {
        let strategy = spec.pointer("/postBuild/substituteStrategy").and_then(Value::as_str);
        !self.values.is_empty() || strategy == Some("Always")
    }

    fn illegal_name(&self) -> Option<&String> {
        self.values.keys().find(|name| {
            let mut chars = name.chars();
            let head = chars.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
            !(head && chars.all(|c| c == '_' || c.is_ascii_alphanumeric()))
        })
    }
}

/// The rendering's objects after substitution.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Substituted {
    /// All of them; those that could not be expanded as they were.
    pub objects: Vec<Value>,
    /// Whether any text was to be written anew.
    pub touched: bool,
    /// What could not be expanded.
    pub failed: Vec<String>,
}

/// Expands the objects of a rendering.
///
/// `texts` are the YAML of `objects`, one each.
pub(super) fn substitute(texts: &[&str], objects: Vec<Value>, spec: &Value, variables: &Variables) -> Substituted {
    let mut done = Substituted { objects, ..Substituted::default() };
    if spec.get("postBuild").is_none_or(Value::is_null) || !variables.applies(spec) {
        return done;
    }
    if let Some(name) = variables.illegal_name() {
        done.failed.push(format!("`{name}` is not a legal variable name"));
        return done;
    }
    done.touched = true;
    for (object, text) in done.objects.iter_mut().zip(texts) {
        if is_disabled(object) {
            continue;
        }
        match expanded(text, variables) {
            Ok(value) => *object = value,
            Err(reason) => done.failed.push(format!("{}: {reason}", title(object))),
        }
    }
    done
}

fn expanded(text: &str, variables: &Variables) -> Result<Value, String> {
    let text = expand(text, &variables.values).map_err(|fault| fault.to_string())?;
    let documents = manifests::parse_yaml11("after substitution", &text).map_err(|error| error.to_string())?;
    let first = documents.into_iter().next().ok_or_else(|| "nothing is left after substitution".to_owned())?;
    Ok(first.root.to_value())
}

fn is_disabled(object: &Value) -> bool {
    ["labels", "annotations"].iter().any(|place| {
        let of = object.get("metadata").and_then(|metadata| metadata.get(place));
        of.and_then(|map| map.get(KEY)).and_then(Value::as_str) == Some("disabled")
    })
}

fn title(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("/kind"), text("/metadata/name"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(text: &str, spec: &Value, more: &[(&str, &str)]) -> Substituted {
        let mut variables = Variables::default();
        let map: BTreeMap<String, String> = more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        variables.add(&map);
        variables.add_inline(spec);
        let objects = manifests::parse("t", text).unwrap().iter().map(|d| d.root.to_value()).collect();
        substitute(&[text], objects, spec, &variables)
    }

    #[test]
    fn values_get_their_type_from_the_expanded_text() {
        let spec = json!({"postBuild": {"substitute": {"port": "8080", "word": "yes", "name": "a\nb"}}});
        let done = run("kind: A\np: ${port}\nq: \"${port}\"\nw: ${word}\nn: ${name}\nd: ${no:=x}\n", &spec, &[]);
        assert_eq!(done.objects, [json!({"kind": "A", "p": 8080, "q": "8080", "w": true, "n": "ab", "d": "x"})]);
        assert!(done.touched && done.failed.is_empty());
    }

    #[test]
    fn inline_values_win_over_those_of_configmaps() {
        let spec = json!({"postBuild": {"substitute": {"a": "inline"}}});
        let done = run("x: ${a}${b}\n", &spec, &[("a", "map"), ("b", "map")]);
        assert_eq!(done.objects, [json!({"x": "inlinemap"})]);
    }

    #[test]
    fn without_variables_nothing_is_expanded_unless_always() {
        for (spec, value) in [
            (json!({}), "${a:=b}"),
            (json!({"postBuild": {}}), "${a:=b}"),
            (json!({"postBuild": {"substituteStrategy": "Always"}}), "b"),
        ] {
            assert_eq!(run("x: ${a:=b}\n", &spec, &[]).objects, [json!({"x": value})], "{spec}");
        }
    }

    #[test]
    fn an_object_can_opt_out() {
        let spec = json!({"postBuild": {"substitute": {"a": "b"}}});
        for place in ["labels", "annotations"] {
            let text = format!("metadata:\n  {place}:\n    {KEY}: disabled\nx: ${{a}}\n");
            assert_eq!(run(&text, &spec, &[]).objects[0]["x"], "${a}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_named_and_left() {
        let spec = json!({"postBuild": {"substitute": {"a": "b"}}});
        let done = run("kind: K\nmetadata: {name: n}\nx: ${secret}\n", &spec, &[]);
        assert_eq!(done.failed, ["K n: variable `secret` is not set"]);
        assert_eq!(done.objects[0]["x"], "${secret}");
        let spec = json!({"postBuild": {"substitute": {"bad-name": "b"}}});
        assert_eq!(run("x: 1\n", &spec, &[]).failed, ["`bad-name` is not a legal variable name"]);
    }
}
