//! Verifies that network policies are live, enforced, and as Git declares them.

pub mod probe;
