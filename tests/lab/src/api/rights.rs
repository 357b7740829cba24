//! Who may do what: RBAC as it is written, for the tokens that the lab gives out.

use serde_json::Value;

use super::object::text;

/// What a request wants to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// `get`, `list`, …
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The plural, with `/subresource`.
    pub resource: String,
    /// The namespace, "" for all or none.
    pub namespace: String,
    /// The object's name, "" for none.
    pub name: String,
}

/// One rule of a role, for one user, in one namespace or everywhere.
#[derive(Debug, Clone)]
struct Grant {
    user: String,
    namespace: Option<String>,
    rule: Value,
}

/// Everybody's rights.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    grants: Vec<Grant>,
    forbidden: Vec<(String, String)>,
}

/// The user that may do everything.
pub const ADMIN: &str = "admin";

/// The user name of a ServiceAccount.
#[must_use]
pub fn account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

impl Rights {
    /// Adds what roles and bindings among these objects say.
    pub fn add(&mut self, objects: &[Value]) {
        let of_kind =
            |kind: &str| objects.iter().filter(move |object| text(object, "/kind") == kind).collect::<Vec<_>>();
        for (binding_kind, everywhere) in [("ClusterRoleBinding", true), ("RoleBinding", false)] {
            for binding in of_kind(binding_kind) {
                let namespace = (!everywhere).then(|| text(binding, "/metadata/namespace").to_owned());
                let role_kind = text(binding, "/roleRef/kind");
                let wanted = |role: &&&Value| {
                    text(role, "/metadata/name") == text(binding, "/roleRef/name")
                        && (role_kind == "ClusterRole"
                            || Some(text(role, "/metadata/namespace")) == namespace.as_deref())
                };
                let roles = of_kind(role_kind);
                let rules = roles.iter().filter(wanted).filter_map(|role| role.get("rules")?.as_array()).flatten();
                let rules: Vec<&Value> = rules.collect();
                for subject in binding.get("subjects").and_then(Value::as_array).into_iter().flatten() {
                    let user = account(text(subject, "/namespace"), text(subject, "/name"));
                    let grant = |rule: &&Value| Grant {
                        user: user.clone(),
                        namespace: namespace.clone(),
                        rule: (*rule).clone(),
                    };
                    self.grants.extend(rules.iter().map(grant));
                }
            }
        }
    }

    /// Takes a right away from everybody but the admin: a verb on a resource (`*`: any verb).
    pub fn forbid(&mut self, verb: &str, resource: &str) {
        self.forbidden.push((verb.to_owned(), resource.to_owned()));
    }

    /// Gives back what [`Self::forbid`] took.
    pub fn forbid_nothing(&mut self) {
        self.forbidden.clear();
    }

    /// Whether a user may.
    #[must_use]
    pub fn allow(&self, user: &str, wish: &Wish) -> bool {
        if user == ADMIN {
            return true;
        }
        let full =
            if wish.group.is_empty() { wish.resource.clone() } else { format!("{}.{}", wish.resource, wish.group) };
        if self.forbidden.iter().any(|(verb, resource)| *resource == full && (verb == "*" || *verb == wish.verb)) {
            return false;
        }
        let of_user = self.grants.iter().filter(|grant| grant.user == user);
        of_user
            .filter(|grant| grant.namespace.as_ref().is_none_or(|namespace| *namespace == wish.namespace))
            .any(|grant| rule_allows(&grant.rule, wish))
    }
}

fn rule_allows(rule: &Value, wish: &Wish) -> bool {
    let list = |field: &str| rule.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let has = |field: &str, wanted: &str| {
        list(field).iter().filter_map(Value::as_str).any(|item| item == wanted || item == "*")
    };
    let named = list("resourceNames").is_empty() || (!wish.name.is_empty() && has("resourceNames", &wish.name));
    has("verbs", &wish.verb) && has("apiGroups", &wish.group) && has("resources", &wish.resource) && named
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wish(verb: &str, resource: &str, namespace: &str, name: &str) -> Wish {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        Wish {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_role_allows_what_it_names_and_no_more() {
        let subjects = json!([{"kind": "ServiceAccount", "name": "v", "namespace": "n"}]);
        let mut rights = Rights::default();
        rights.add(&[
            json!({"kind": "ClusterRole", "metadata": {"name": "v"},
                "rules": [{"apiGroups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get", "list"]}]}),
            json!({"kind": "ClusterRoleBinding", "roleRef": {"kind": "ClusterRole", "name": "v"}, "subjects": subjects}),
            json!({"kind": "Role", "metadata": {"name": "v", "namespace": "n"},
                "rules": [{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["s"], "verbs": ["update"]}]}),
            json!({"kind": "RoleBinding", "metadata": {"namespace": "n"}, "roleRef": {"kind": "Role", "name": "v"},
                "subjects": subjects}),
        ]);
        let user = account("n", "v");
        for (wish, allowed) in [
            (wish("list", "pods", "", ""), true),
            (wish("get", "pods/exec", "a", "p"), true),
            (wish("delete", "pods", "a", "p"), false),
            (wish("list", "pods.metrics.k8s.io", "", ""), false),
            (wish("update", "configmaps", "n", "s"), true),
            (wish("update", "configmaps", "n", "other"), false),
            (wish("update", "configmaps", "other", "s"), false),
        ] {
            assert_eq!(rights.allow(&user, &wish), allowed, "{wish:?}");
            assert!(!rights.allow("somebody", &wish) && rights.allow(ADMIN, &wish), "{wish:?}");
        }
        rights.forbid("list", "pods");
        assert!(!rights.allow(&user, &wish("list", "pods", "", "")));
    }
}
