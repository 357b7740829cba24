//! The `netpol-verify` command.
fn main() {}
