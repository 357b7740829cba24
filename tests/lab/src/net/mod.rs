//! The network of the lab: pods that are network namespaces, and a packet filter that enforces policies.
