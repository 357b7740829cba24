//! `netpol-verify admission-policy`.

use std::path::PathBuf;

use super::{Failure, Global, sets};
use crate::{
    admission::{self, Policy},
    config::Config,
};

/// Arguments of `admission-policy`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct AdmissionArgs {
    /// Configuration file: productNamespaces and probeNamespaces say where the probe may run, substituteFrom which
    /// ConfigMaps the verifier may read.
    #[arg(long, value_name = "FILE", env = "NETPOL_VERIFY_CONFIG", default_value = "/etc/netpol-verify/config.yaml")]
    config: PathBuf,
    /// The repository of the verifier's image, without tag and digest: the watcher's Jobs have no other one.
    #[arg(long, value_name = "REPOSITORY", default_value = "netpol-verify")]
    image: String,
    /// Print this one alone (more than once: these). `namespaces`, `ephemeral` and `substitute` depend on the
    /// configuration, `jobs` on the image. Without it: all, `ephemeral` only with probe.ephemeral, `substitute` only with
    /// substituteFrom.
    #[arg(long, value_name = "POLICY", value_enum)]
    only: Vec<Policy>,
}

const EXAMPLES: &str = "Examples:
  netpol-verify admission-policy --config config.yaml --image registry.example.org/netpol-verify | kubectl apply -f -
  netpol-verify admission-policy --config config.yaml --image REPOSITORY --only namespaces --only jobs > bounds.yaml
  netpol-verify admission-policy --config config.yaml --only substitute > substitute.yaml

It prints YAML and needs no cluster; the API server has to be Kubernetes 1.30 or newer.

Exit codes: 0 printed; 2 usage or bad configuration.";

/// Prints the policies.
pub fn print(args: AdmissionArgs, global: &Global) -> Result<u8, Failure> {
    let AdmissionArgs { config, image, only } = args;
    let config = Config::load(&config).map_err(Failure::usage)?;
    let which = if only.is_empty() { Policy::all(&config) } else { only };
    let policies = admission::policies(&which, &config, &global.namespace, &image);
    sets::printed(&policies.map_err(Failure::usage)?)
}
