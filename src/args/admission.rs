//! `netpol-verify admission-policy`.

use std::path::PathBuf;

use super::{Failure, Global};
use crate::{
    admission::{self, Policy},
    config::Config,
};

/// Arguments of `admission-policy`.
#[derive(Debug, clap::Args)]
pub struct AdmissionArgs {
    /// Configuration file: productNamespaces and probeNamespaces say where the probe may run, substituteFrom which
    /// ConfigMaps the verifier may read.
    #[arg(long, value_name = "FILE", env = "NETPOL_VERIFY_CONFIG", default_value = "/etc/netpol-verify/config.yaml")]
    config: PathBuf,
    /// Print this one alone (more than once: these). `namespaces` is the one that depends on the configuration.
    #[arg(long, value_name = "POLICY", value_enum)]
    only: Vec<Policy>,
}

/// Prints the policies.
pub fn print(args: AdmissionArgs, global: &Global) -> Result<u8, Failure> {
    let AdmissionArgs { config, only } = args;
    let config = Config::load(&config).map_err(Failure::usage)?;
    let which = if only.is_empty() { Policy::ALL.to_vec() } else { only };
    let policies = admission::policies(&which, &config, &global.namespace).map_err(Failure::usage)?;
    let roles = admission::roles(&config, &global.namespace).map_err(Failure::usage)?;
    print!("{policies}");
    if !roles.is_empty() && which.contains(&Policy::Namespaces) {
        print!("---\n{roles}");
    }
    Ok(0)
}
