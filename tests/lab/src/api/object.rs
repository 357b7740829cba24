//! JSON as the API server treats it: pointers, merge patches, defaults, selectors.

use serde_json::{Map, Value, json};

use super::kinds::Kind;

/// The text at a JSON pointer, or "".
#[must_use]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Sets or removes a field of an object.
pub fn set(object: &mut Value, field: &str, value: Option<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    match value {
        Some(value) => map.insert(field.to_owned(), value),
        None => map.remove(field),
    };
}

/// A member that is an object, made where there is none.
pub fn member<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let map = as_map(object).entry(field).or_insert_with(|| json!({}));
    as_map(map)
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object above"),
    }
}

/// RFC 7396.
pub fn merge_patch(value: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        patch.clone_into(value);
        return;
    };
    let map = as_map(value);
    for (key, new) in patch {
        if new.is_null() {
            map.remove(key);
        } else {
            merge_patch(map.entry(key).or_insert(Value::Null), new);
        }
    }
}

/// What the API server adds to an object before it stores it.
#[must_use]
pub fn defaulted(kind: &Kind, mut object: Value) -> Value {
    match kind.kind.as_str() {
        "NetworkPolicy" if kind.group == "networking.k8s.io" => policy(&mut object),
        "NetworkPolicy" | "GlobalNetworkPolicy" if kind.group == "projectcalico.org" => {
            calico_policy(member(&mut object, "spec"));
        }
        "Namespace" => {
            let name = text(&object, "/metadata/name").to_owned();
            let metadata = member(&mut object, "metadata");
            let labels = as_map(metadata.entry("labels").or_insert_with(|| json!({})));
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
        _ => {}
    }
    object
}

/// <https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/>: `policyTypes` and
/// protocols are filled in; empty lists are not stored.
fn policy(object: &mut Value) {
    let Some(spec) = object.get_mut("spec") else { return };
    without_empty(spec);
    let has_egress = spec.get("egress").is_some();
    let spec = as_map(spec);
    spec.entry("podSelector").or_insert_with(|| json!({}));
    let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    spec.entry("policyTypes").or_insert(types);
    for direction in ["ingress", "egress"] {
        let rules = spec.get_mut(direction).and_then(Value::as_array_mut);
        let ports = rules.into_iter().flatten().filter_map(|rule| rule.get_mut("ports")?.as_array_mut());
        for port in ports.flatten() {
            as_map(port).entry("protocol").or_insert_with(|| "TCP".into());
        }
    }
}

/// <https://docs.tigera.io/calico/latest/reference/resources/globalnetworkpolicy>: the tier, and the directions that the
/// policy has rules for.
fn calico_policy(spec: &mut Map<String, Value>) {
    let has = |rules: &str| spec.get(rules).and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
    let types = match (has("ingress"), has("egress")) {
        (true, true) => json!(["Ingress", "Egress"]),
        (false, true) => json!(["Egress"]),
        (_, false) => json!(["Ingress"]),
    };
    spec.entry("tier").or_insert_with(|| "default".into());
    spec.entry("types").or_insert(types);
}

/// Go's `omitempty`: lists and the maps of selectors.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                let empty_map = key == "matchLabels" && value.as_object().is_some_and(Map::is_empty);
                !(empty_map || value.is_null() || value.as_array().is_some_and(Vec::is_empty))
            });
            map.values_mut().for_each(without_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

/// Whether labels fit a selector of the forms `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`.
#[must_use]
pub fn labels_fit(object: &Value, selector: &str) -> bool {
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let of = |key: &str| labels.and_then(|labels| labels.get(key.trim())).and_then(Value::as_str);
    let one = |term: &str| {
        let listed = |list: &str, value: Option<&str>| {
            let list = list.trim().trim_start_matches('(').trim_end_matches(')');
            value.is_some_and(|value| list.split(',').any(|item| item.trim() == value))
        };
        if let Some((key, list)) = term.split_once(" notin ") {
            return !listed(list, of(key));
        }
        if let Some((key, list)) = term.split_once(" in ") {
            return listed(list, of(key));
        }
        if let Some((key, value)) = term.split_once("!=") {
            return of(key) != Some(value.trim());
        }
        if let Some((key, value)) = term.split_once('=') {
            return of(key) == Some(value.trim_start_matches('=').trim());
        }
        match term.trim().strip_prefix('!') {
            Some(key) => of(key).is_none(),
            None => of(term).is_some(),
        }
    };
    terms(selector).iter().all(|term| one(term))
}

/// The terms of a selector: commas inside parentheses part none.
fn terms(selector: &str) -> Vec<String> {
    let (mut terms, mut depth) = (vec![String::new()], 0);
    for character in selector.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = terms.last_mut() {
            last.push(character);
        }
    }
    terms.retain(|term| !term.trim().is_empty());
    terms
}

/// Whether fields fit a selector of the forms `a.b=c` and `a.b!=c`.
#[must_use]
pub fn fields_fit(object: &Value, selector: &str) -> bool {
    selector.split(',').filter(|term| !term.is_empty()).all(|term| {
        let (path, value, equal) = match (term.split_once("!="), term.split_once('=')) {
            (Some((path, value)), _) => (path, value, false),
            (None, Some((path, value))) => (path, value.trim_start_matches('='), true),
            (None, None) => return false,
        };
        (text(object, &format!("/{}", path.replace('.', "/"))) == value) == equal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_pick_as_the_api_server_does() {
        let object = json!({"metadata": {"name": "p", "labels": {"app": "web", "tier": "a"}}});
        for (selector, fits) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=a", true),
            ("app=db", false),
            ("app!=db", true),
            ("app", true),
            ("!app", false),
            ("app in (db, web),tier", true),
            ("app notin (db,web)", false),
        ] {
            assert_eq!(labels_fit(&object, selector), fits, "{selector}");
        }
        assert!(fields_fit(&object, "metadata.name=p") && !fields_fit(&object, "metadata.name!=p"));
    }

    #[test]
    fn a_policy_is_stored_with_defaults_and_without_empty_lists() {
        let kind = Kind::new("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies");
        let spec =
            json!({"podSelector": {"matchLabels": {}}, "ingress": [], "egress": [{"ports": [{"port": 53}], "to": []}]});
        let stored = defaulted(&kind, json!({ "spec": spec }));
        let expected = json!({
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}],
        });
        assert_eq!(stored["spec"], expected);
    }

    #[test]
    fn a_policy_of_calico_is_stored_with_its_tier_and_the_directions_that_it_has_rules_for() {
        let kind = Kind::new("projectcalico.org/v3", "GlobalNetworkPolicy", "*globalnetworkpolicies");
        let rules = json!([{"action": "Deny"}]);
        for (spec, types) in [
            (json!({}), json!(["Ingress"])),
            (json!({"egress": rules}), json!(["Egress"])),
            (json!({"ingress": rules, "egress": rules}), json!(["Ingress", "Egress"])),
            (json!({"types": ["Ingress"], "egress": rules}), json!(["Ingress"])),
        ] {
            let stored = defaulted(&kind, json!({ "spec": spec }));
            assert_eq!((&stored["spec"]["types"], &stored["spec"]["tier"]), (&types, &json!("default")), "{spec}");
        }
    }

    #[test]
    fn a_merge_patch_removes_with_null() {
        let mut value = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge_patch(&mut value, &json!({"a": {"b": null, "e": 3}, "d": [2]}));
        assert_eq!(value, json!({"a": {"c": 2, "e": 3}, "d": [2]}));
    }
}
