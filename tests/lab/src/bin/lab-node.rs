//! What runs inside the namespaces of the lab; `lab::net::Net` starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::net::inside::main()
}
