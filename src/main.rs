//! The `netpol-verify` command.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    // Chosen here, once: kube and reqwest share it, and rustls panics at the first connection without one.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("another TLS provider is installed already");
        return ExitCode::from(netpol_verify::args::NOT_TOLD);
    }
    netpol_verify::args::parse_and_run().await
}
