//! The Flux adapter against HTTP servers and the real kustomize.

#[cfg(test)]
mod fetch;
#[cfg(test)]
mod rendering;
#[cfg(test)]
mod support;
