//! The [`Source`] of the use case: Flux's objects from the API server, the artifact over HTTP.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    ArtifactLimits, FluxFault, KustomizationObject, Retry, SourceObject,
    artifact::{self, Way},
    declared::{decides, document, namespaces},
    generate::text,
    kustomize, path,
    rendering::render,
    status::judge,
    substitute::{Variables, references},
};
use crate::{
    model::{Declared, KustomizationRef, KustomizationStatus, ObjectRef},
    verify::seams::{Fault, Source},
};

/// How to get at what Flux has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FluxOptions {
    /// `host:port` in place of the artifact URL's: the environment's `SOURCE_CONTROLLER_LOCALHOST`.
    pub localhost: Option<String>,
    /// Whether Services of the cluster are reached through the API server: for a run outside of the cluster.
    pub forward: bool,
    /// The renderer: a path, or a name on `PATH`.
    pub kustomize: PathBuf,
    /// How long one build may take.
    pub render_limit: Duration,
    /// ConfigMaps, in the Kustomization's namespace, that `postBuild.substituteFrom` may read.
    pub substitute_from: Vec<String>,
    /// The allow-list's path in the artifact.
    pub allowlist: Option<String>,
    /// How much of an artifact is taken.
    pub limits: ArtifactLimits,
    /// How a download is tried again.
    pub retry: Retry,
}

impl Default for FluxOptions {
    fn default() -> Self {
        Self {
            localhost: None,
            forward: false,
            kustomize: PathBuf::from("kustomize"),
            render_limit: kustomize::TIME_LIMIT,
            substitute_from: Vec::new(),
            allowlist: None,
            limits: ArtifactLimits::default(),
            retry: Retry::default(),
        }
    }
}

/// Git, as Flux fetched and applied it.
#[derive(Clone)]
pub struct FluxSource {
    client: Client,
    http: reqwest::Client,
    options: FluxOptions,
}

impl FluxSource {
    /// Reads Flux's objects with `client` and artifacts with `http` (which should have a timeout).
    #[must_use]
    pub fn new(client: Client, http: reqwest::Client, options: FluxOptions) -> Self {
        Self { client, http, options }
    }

    fn way(&self) -> Way<'_> {
        Way {
            http: &self.http,
            localhost: self.options.localhost.as_deref(),
            forward: self.options.forward.then_some(&self.client),
        }
    }

    async fn kustomization(&self, id: &KustomizationRef) -> Result<Option<KustomizationObject>, FluxFault> {
        self.get("kustomize.toolkit.fluxcd.io", "Kustomization", "kustomizations", &id.namespace, &id.name).await
    }

    /// The source of a Kustomization.
    async fn source(&self, kustomization: &KustomizationObject) -> Result<Option<SourceObject>, FluxFault> {
        let what = format!("Kustomization {}", kustomization.metadata.name);
        let reference = kustomization.source_ref().map_err(|source| FluxFault::Shape { what, source })?;
        let plural = match reference.kind.as_str() {
            "GitRepository" => "gitrepositories",
            "OCIRepository" => "ocirepositories",
            "Bucket" => "buckets",
            "ExternalArtifact" => "externalartifacts",
            kind => return Err(FluxFault::SourceKind { kind: kind.to_owned() }),
        };
        let namespace = reference.namespace.as_deref().unwrap_or(&kustomization.metadata.namespace);
        let group = "source.toolkit.fluxcd.io";
        let found = self.get::<SourceObject>(group, &reference.kind, plural, namespace, &reference.name).await?;
        Ok(found.map(|source| SourceObject { kind: reference.kind, ..source }))
    }

    /// Reads an object of Flux's `v1` API; `None` where it does not exist.
    async fn get<T: DeserializeOwned>(
        &self,
        group: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, FluxFault> {
        let what = || format!("{kind} {namespace}/{name}");
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let found = api.get_opt(name).await;
        let Some(object) = found.map_err(|source| FluxFault::Api { what: what(), source: Box::new(source) })? else {
            return Ok(None);
        };
        let shape = |source| FluxFault::Shape { what: what(), source };
        let value = serde_json::to_value(object).map_err(shape)?;
        serde_json::from_value(value).map(Some).map_err(shape)
    }

    /// The variables of `postBuild`: from ConfigMaps that the configuration names, and inline. Secrets are never read.
    async fn variables(&self, kustomization: &KustomizationObject) -> Result<Variables, FluxFault> {
        let mut variables = Variables::default();
        let namespace = &kustomization.metadata.namespace;
        for reference in references(&kustomization.spec) {
            let name = &reference.name;
            if reference.kind != "ConfigMap" {
                let kind = &reference.kind;
                variables.unread.push(format!("`substituteFrom` names the {kind} `{name}`: only ConfigMaps are read"));
            } else if !self.options.substitute_from.contains(name) {
                let text = format!("`substituteFrom` names the ConfigMap `{name}`, which the configuration does not");
                variables.unread.push(text);
            } else if let Some(data) = self.config_map(namespace, name).await? {
                variables.add(&data);
            } else if !reference.optional {
                variables.unread.push(format!("the ConfigMap `{namespace}/{name}` of `substituteFrom` does not exist"));
            }
        }
        variables.add_inline(&kustomization.spec);
        Ok(variables)
    }

    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<BTreeMap<String, String>>, FluxFault> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let what = || format!("ConfigMap {namespace}/{name}");
        let found = api.get_opt(name).await;
        let found = found.map_err(|source| FluxFault::Api { what: what(), source: Box::new(source) })?;
        Ok(found.map(|map| map.data.unwrap_or_default()))
    }

    /// Both objects, and the proof that they still are at the revision of `status`.
    async fn current(&self, status: &KustomizationStatus) -> Result<(KustomizationObject, SourceObject), FluxFault> {
        let id = &status.id;
        let applied = status.applied.as_ref().ok_or_else(|| FluxFault::NeverApplied { id: id.to_string() })?;
        let missing = |what: String| FluxFault::Missing { what };
        let kustomization = self.kustomization(id).await?.ok_or_else(|| missing(format!("Kustomization {id}")))?;
        let source = self.source(&kustomization).await?;
        let source = source.ok_or_else(|| missing(format!("the source of Kustomization {id}")))?;
        let served = source.revision().ok_or_else(|| FluxFault::NoArtifact { source_name: source.title() })?;
        if served != applied.0 {
            return Err(FluxFault::Lag {
                source_name: source.title(),
                served: served.to_owned(),
                applied: applied.0.clone(),
            });
        }
        Ok((kustomization, source))
    }

    async fn fetch_and_render(&self, status: &KustomizationStatus) -> Result<Declared, FluxFault> {
        let options = &self.options;
        let (kustomization, source) = self.current(status).await?;
        let no_artifact = || FluxFault::NoArtifact { source_name: source.title() };
        let place = source.status.artifact.as_ref().ok_or_else(no_artifact)?;
        let tree = artifact::fetch(self.way(), place, options.limits, options.retry).await?;
        let variables = self.variables(&kustomization).await?;
        let digest = status.digest.as_deref();
        let spec = &kustomization.spec;
        let rendered = render(tree, spec, &variables, digest, &options.kustomize, options.render_limit).await?;
        let allowlist = options.allowlist.as_ref().map(|file| path::join("", file));
        let allowlist = allowlist.filter(|file| rendered.tree.get(file).is_some());
        let allowlist = allowlist.map(|file| text(&rendered.tree, &file).map(str::to_owned)).transpose()?;
        let namespaces = namespaces(&rendered.objects);
        let text = |object: &Value, key| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let decides = |object: &Value| decides(&text(object, "apiVersion"), &text(object, "kind"));
        let objects = rendered.objects.into_iter().zip(rendered.origins).filter(|(object, _)| decides(object));
        let policies = objects.filter_map(|(object, origins)| document(object, origins, spec, &status.id)).collect();
        Ok(Declared {
            status: status.clone(),
            rendering: rendered.rendering,
            policies,
            namespaces,
            allowlist,
            remembered: false,
        })
    }
}

impl Source for FluxSource {
    async fn status(&self, id: &KustomizationRef) -> Result<Option<KustomizationStatus>, Fault> {
        let Some(kustomization) = self.kustomization(id).await? else { return Ok(None) };
        let source = self.source(&kustomization).await?;
        Ok(Some(judge(&kustomization, source.as_ref())))
    }

    async fn declared(&self, status: &KustomizationStatus) -> Result<Declared, Fault> {
        Ok(self.fetch_and_render(status).await?)
    }

    async fn inventories(&self) -> Result<BTreeMap<KustomizationRef, Vec<ObjectRef>>, Fault> {
        let resource = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("kustomize.toolkit.fluxcd.io", "v1", "Kustomization"),
            "kustomizations",
        );
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        let what = || "the list of Kustomizations".to_owned();
        let list = api.list(&ListParams::default()).await;
        let list = list.map_err(|source| FluxFault::Api { what: what(), source: Box::new(source) })?;
        let mut inventories = BTreeMap::new();
        for object in list.items {
            let shape = |source| FluxFault::Shape { what: what(), source };
            let value = serde_json::to_value(object).map_err(shape)?;
            let status = judge(&serde_json::from_value(value).map_err(shape)?, None);
            inventories.insert(status.id, status.inventory);
        }
        Ok(inventories)
    }
}
