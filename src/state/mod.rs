//! The memory between runs, the lock, and the clock.
