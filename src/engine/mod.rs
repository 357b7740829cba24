//! Decides what policies mean: verdicts, reachability, touched flows, the plan of probes, and blame.
