//! Real packets from inside pods.
//!
//! ```text
//! Target ──[script]──▶ sh -c SCRIPT probe wave:8 TARGET…  ─┐
//!        ──[script]──▶ nc -zvnw2 IP PORT (no shell)        ├─[exec]─▶ output ──[dialect]──▶ Observation
//!                                    choice by [tools] ────┘
//! ```
//!
//! Rules kept here: what runs in a pod is a constant, and its arguments have one validated form each, so that an
//! admission policy can pin them ([`script`], [`target`]). Everything is limited in time on both sides, and in size.
//! An answer is read from the tool's words and the time it took ([`dialect`]), never from an exit status alone: what
//! cannot be told is [`Outcome::Cut`], not a denial. Where no container of a pod can, and where that is opted in, one is
//! added to it ([`ephemeral`]).

pub mod dialect;
pub mod ephemeral;
pub mod exec;
mod fault;
mod gate;
mod prober;
pub mod script;
pub mod target;
pub mod tools;
mod waves;

pub use crate::model::Outcome;
pub use dialect::{Observation, Tool};
pub use ephemeral::{Ephemeral, EphemeralFault};
pub use exec::{ExecProber, Limits, SourcePod};
pub use fault::ExecFault;
pub use prober::PodProber;
pub use target::{InvalidTarget, Target, Wave};
pub use tools::{Candidate, ProbePod, ToolCache};
