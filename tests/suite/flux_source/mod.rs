//! The Flux adapter against HTTP servers and the real kustomize.

mod fetch;
mod rendering;
mod support;
