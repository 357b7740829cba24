//! What the shipped roles grant, beside what the audit log shows was asked for.

use std::{collections::BTreeSet, fmt};

use serde_json::Value;

use crate::objects::text;

/// One verb on one resource, as a role grants it to an account of the verifier.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// The account's name.
    pub account: String,
    /// The verb.
    pub verb: String,
    /// The resource with its group and subresource, as `kubectl auth can-i` names it.
    pub resource: String,
    /// The one object that it is for; `None`: all.
    pub name: Option<String>,
    /// The one namespace that it is for; `None`: all.
    pub namespace: Option<String>,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, verb, resource, name, namespace } = self;
        write!(f, "{account}: {verb} {resource}")?;
        if let Some(name) = name {
            write!(f, " {name}")?;
        }
        namespace.as_ref().map_or(Ok(()), |namespace| write!(f, " in {namespace}"))
    }
}

/// A request of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// The request, in the words of the grant that it would need at the least.
    pub asked: Grant,
    /// Whether the API server forbade it.
    pub is_denied: bool,
}

/// `resource/subresource.group`.
fn resource(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Request {
    /// Reads a line of the audit log; `None` for one that is not about a resource.
    #[must_use]
    pub fn read(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let object = event.get("objectRef")?;
        let some = |pointer: &str| Some(text(object, pointer).to_owned()).filter(|text| !text.is_empty());
        let plural = text(object, "/resource");
        let plural = some("/subresource").map_or_else(|| plural.to_owned(), |sub| format!("{plural}/{sub}"));
        let asked = Grant {
            account: text(&event, "/user/username").rsplit(':').next()?.to_owned(),
            verb: text(&event, "/verb").to_owned(),
            resource: resource(text(object, "/apiGroup"), &plural),
            name: some("/name"),
            namespace: some("/namespace"),
        };
        let is_denied = event.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(403);
        Some(Self { asked, is_denied })
    }
}

impl Grant {
    /// Whether a request needed this.
    #[must_use]
    pub fn covers(&self, asked: &Self) -> bool {
        let same = (&self.account, &self.verb, &self.resource) == (&asked.account, &asked.verb, &asked.resource);
        let bound = |mine: &Option<String>, other: &Option<String>| mine.is_none() || mine == other;
        same && bound(&self.name, &asked.name) && bound(&self.namespace, &asked.namespace)
    }
}

fn words<'a>(rule: &'a Value, field: &str) -> Vec<&'a str> {
    rule.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Everything that the roles among these objects grant to the service accounts that they are bound to.
#[must_use]
pub fn grants(objects: &[Value]) -> BTreeSet<Grant> {
    let mut all = BTreeSet::new();
    for binding in objects.iter().filter(|object| text(object, "/kind").ends_with("RoleBinding")) {
        let namespace = Some(text(binding, "/metadata/namespace")).filter(|namespace| !namespace.is_empty());
        let is_role = |role: &&Value| {
            ["kind", "name"]
                .iter()
                .zip(["/kind", "/metadata/name"])
                .all(|(field, at)| text(binding, &format!("/roleRef/{field}")) == text(role, at))
        };
        let rules = objects.iter().filter(is_role).filter_map(|role| role.get("rules")?.as_array()).flatten();
        let subjects = binding.get("subjects").and_then(Value::as_array).into_iter().flatten();
        for (subject, rule) in subjects.flat_map(|subject| rules.clone().map(move |rule| (subject, rule))) {
            all.extend(of_rule(text(subject, "/name"), namespace, rule));
        }
    }
    all
}

fn of_rule(account: &str, namespace: Option<&str>, rule: &Value) -> Vec<Grant> {
    let names: Vec<Option<String>> = match words(rule, "resourceNames") {
        none if none.is_empty() => vec![None],
        some => some.into_iter().map(|name| Some(name.to_owned())).collect(),
    };
    let mut grants = Vec::new();
    for group in words(rule, "apiGroups") {
        for plural in words(rule, "resources") {
            for verb in words(rule, "verbs") {
                grants.extend(names.iter().map(|name| Grant {
                    account: account.to_owned(),
                    verb: verb.to_owned(),
                    resource: resource(group, plural),
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                }));
            }
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::parse;

    #[test]
    fn a_grant_is_used_by_the_requests_that_need_it_and_by_no_others() {
        let objects = parse(
            "{kind: Role, metadata: {name: r, namespace: own}, rules: [{apiGroups: [''], resources: [configmaps], \
              resourceNames: [state], verbs: [get]}, {apiGroups: [batch], resources: [jobs], verbs: [create]}]}\n---\n\
             {kind: RoleBinding, metadata: {name: r, namespace: own}, roleRef: {kind: Role, name: r}, \
              subjects: [{kind: ServiceAccount, name: v, namespace: own}]}\n",
        )
        .unwrap();
        let granted: Vec<String> = grants(&objects).iter().map(ToString::to_string).collect();
        assert_eq!(granted, ["v: create jobs.batch in own", "v: get configmaps state in own"]);
        let line = |verb: &str, name: &str, code: u16| {
            let object = format!(r#"{{"resource":"configmaps","namespace":"own","name":"{name}"}}"#);
            let user = r#"{"username":"system:serviceaccount:own:v"}"#;
            format!(r#"{{"user":{user},"verb":"{verb}","objectRef":{object},"responseStatus":{{"code":{code}}}}}"#)
        };
        let grant = grants(&objects).into_iter().nth(1).unwrap();
        for (verb, name, covered) in [("get", "state", true), ("get", "other", false), ("list", "state", false)] {
            assert_eq!(grant.covers(&Request::read(&line(verb, name, 200)).unwrap().asked), covered, "{verb} {name}");
        }
        assert!(Request::read(&line("get", "state", 403)).unwrap().is_denied);
    }
}
