//! What the API server holds the verifier's accounts to, beyond what RBAC can say.
//!
//! ```text
//! [probe]: script, patterns ─┐
//! config.yaml: namespaces ───┴─▶ ValidatingAdmissionPolicies and their bindings, as YAML
//! ```
//!
//! A policy looks at one account's requests alone and fails closed. None has a parameter object: where one is missing,
//! the API server refuses every request that the policy's constraints pick, whoever makes it (match conditions come
//! later), and nobody's `kubectl exec` may depend on ours. Nor does it see parameters of built-in kinds any more once the
//! last policy that had one was deleted and another one is made (Kubernetes 1.36). So what an installation chooses, its
//! namespaces and its image, stands in policies of its own, which an overlay replaces, apart from the one that holds the
//! script, which an upgrade replaces.

mod cel;

use std::collections::BTreeSet;

use crate::{
    config::{Config, NamespaceSet},
    probe::{
        ephemeral::container,
        script::{self, MAX_TARGETS, PREVIOUS},
        target::{NC_ADDRESS_PATTERN, NC_FLAGS_PATTERN, NC_PORT_PATTERN, TARGET_PATTERN, WAVE_PATTERN},
    },
    state::{ConfigMapStore, LeaseLock},
};

/// Elements of the command before the targets: `sh -c SCRIPT probe wave:N`.
const HEAD: usize = 5;

/// One of the policies, or what else an installation may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Policy {
    /// What may run in a pod.
    Exec,
    /// In which namespaces.
    Namespaces,
    /// Which objects the verifier may make in its own namespace.
    Objects,
    /// Which Jobs the watcher may make.
    Jobs,
    /// What may be added to a pod (`probe.ephemeral`).
    Ephemeral,
    /// The Roles by which the verifier reads the ConfigMaps of `substituteFrom`: no policy, and no patch of an overlay.
    Substitute,
}

impl Policy {
    /// Those that every installation has, in the order in which they are printed.
    pub const ALWAYS: [Self; 4] = [Self::Exec, Self::Namespaces, Self::Objects, Self::Jobs];

    /// Those of a configuration.
    #[must_use]
    pub fn all(config: &Config) -> Vec<Self> {
        let ephemeral = config.probe.ephemeral.then_some(Self::Ephemeral);
        let substitute = (!config.substitute_from.is_empty()).then_some(Self::Substitute);
        Self::ALWAYS.into_iter().chain(ephemeral).chain(substitute).collect()
    }

    fn template(self) -> &'static str {
        match self {
            Self::Exec => include_str!("exec.yaml"),
            Self::Namespaces => include_str!("namespaces.yaml"),
            Self::Objects => include_str!("objects.yaml"),
            Self::Jobs => include_str!("jobs.yaml"),
            Self::Ephemeral => include_str!("ephemeral.yaml"),
            Self::Substitute => include_str!("substitute.yaml"),
        }
    }
}

/// Why there is no policy for a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    /// It would break out of the text of a policy.
    #[error("`{0}` is not the name of a namespace")]
    Namespace(String),
    /// It is not the name of an image's repository.
    #[error("`{0}` is not the repository of an image: give it without tag and digest")]
    Image(String),
    /// There is no image that could be added.
    #[error("the policy `ephemeral` bounds containers to probe.image, which the configuration does not have")]
    NoProbeImage,
    /// There is no ConfigMap that a Role could name.
    #[error("the Roles `substitute` are for the ConfigMaps of substituteFrom, which the configuration does not have")]
    NoSubstitution,
    /// The sets of namespaces cannot be read.
    #[error("{0}")]
    Sets(String),
}

/// The policies for an installation in `namespace`, with the image of a repository, as YAML documents.
///
/// # Errors
/// The namespace's name or the configuration cannot be used.
pub fn policies(which: &[Policy], config: &Config, namespace: &str, image: &str) -> Result<String, Impossible> {
    checked(namespace)?;
    if !is_repository(image) {
        return Err(Impossible::Image(image.to_owned()));
    }
    if which.contains(&Policy::Ephemeral) && config.probe.image.is_none() {
        return Err(Impossible::NoProbeImage);
    }
    let sets = NamespaceSet::new(&config.product_namespaces, &config.probe_namespaces).map_err(Impossible::Sets)?;
    let selected = sets.selector().map_or_else(|| "false".to_owned(), |selector| cel::matches(selector.source()));
    let product = &config.product_namespaces;
    let targets: Vec<String> = (HEAD..HEAD + MAX_TARGETS).map(|index| index.to_string()).collect();
    let scripts: Vec<String> = [script::script()].iter().chain(PREVIOUS).map(|script| cel::raw(script)).collect();
    let values = [
        ("@namespace@", namespace.to_owned()),
        ("@image@", quoted(&cel::string(image))),
        ("@state@", ConfigMapStore::NAME.to_owned()),
        ("@lease@", LeaseLock::NAME.to_owned()),
        ("@names@", quoted(&cel::list(&product.names))),
        ("@exclude@", quoted(&cel::list(&product.exclude))),
        ("@probe@", quoted(&cel::list(&config.probe_namespaces))),
        ("@selected@", quoted(&selected)),
        ("@most@", (HEAD + MAX_TARGETS).to_string()),
        ("@targets@", targets.join(", ")),
        ("@wave@", WAVE_PATTERN.to_owned()),
        ("@target@", TARGET_PATTERN.to_owned()),
        ("@nc_flags@", NC_FLAGS_PATTERN.to_owned()),
        ("@nc_address@", NC_ADDRESS_PATTERN.to_owned()),
        ("@nc_port@", NC_PORT_PATTERN.to_owned()),
        ("@probe_image@", quoted(&cel::string(config.probe.image.as_deref().unwrap_or_default()))),
        ("@probe_names@", cel::list(&container::names().collect::<Vec<_>>())),
        ("@probe_command@", cel::list(&container::command())),
        ("@probe_user@", container::USER.to_string()),
        // Last: what stands in it is no marker.
        ("@scripts@", indented(&format!("[{}]", scripts.join(",\n")))),
    ];
    let documents = which.iter().map(|policy| match policy {
        Policy::Substitute => roles(config, namespace),
        policy => Ok(filled(policy.template(), &values)),
    });
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

/// The Roles by which the verifier reads the ConfigMaps of `substituteFrom`, one in each namespace with Kustomizations.
fn roles(config: &Config, namespace: &str) -> Result<String, Impossible> {
    if config.substitute_from.is_empty() {
        return Err(Impossible::NoSubstitution);
    }
    let places: BTreeSet<&str> = config.kustomizations.iter().map(|id| id.namespace.as_str()).collect();
    let role = |place: &str| {
        let values = [
            ("@namespace@", namespace.to_owned()),
            ("@flux@", place.to_owned()),
            ("@config_maps@", cel::list(&config.substitute_from)),
        ];
        checked(place).map(|()| filled(Policy::Substitute.template(), &values))
    };
    Ok(places.into_iter().map(role).collect::<Result<Vec<_>, _>>()?.join("---\n"))
}

fn filled(template: &str, values: &[(&str, String)]) -> String {
    values.iter().fold(template.to_owned(), |text, (marker, value)| text.replace(marker, value))
}

/// Names of namespaces are RFC 1123 labels.
fn checked(namespace: &str) -> Result<(), Impossible> {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !namespace.is_empty() && namespace.len() <= 63 && namespace.chars().all(valid) {
        return Ok(());
    }
    Err(Impossible::Namespace(namespace.to_owned()))
}

/// `registry.example.org:5000/a/b`: what stands before an image's tag and digest.
fn is_repository(image: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    let last = image.rsplit('/').next().unwrap_or_default();
    image.chars().all(valid) && !last.is_empty() && !last.contains(':')
}

/// A single-quoted YAML scalar.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The lines of a block scalar as deep as its marker stands.
fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}

#[cfg(test)]
mod tests;
