//! The use case: verify what Flux applied last, once, and report.
//!
//! ```text
//! [run] lock → state → outbox → [applied] Flux → [trigger]
//!       → [compare] Git × live × before (+ [recall] what the state wants seen; [names] asked in pods) → [probing] rounds of [track]s (in the pods of an Indexed Job: [shards])
//!       → [assemble] flows (+ [evidence]), [nodes] joined, [moved] names, [expect]ations → [conclude] verdict (+ [cleared]) → [remember] state + [tell] messages (+ [weekly]) → [deliver]
//! ```
//!
//! It knows the outside only by the traits in [`seams`].

pub mod applied;
pub mod assemble;
pub mod by_hand;
pub mod cleared;
pub mod compare;
pub mod conclude;
pub mod deliver;
pub mod evidence;
pub mod expect;
pub mod findings;
pub mod ground;
pub mod intended;
pub mod moved_name;
pub mod names;
pub mod nodes;
pub mod probing;
pub mod recall;
pub mod relabelled;
pub mod remember;
pub mod run;
pub mod seams;
pub mod shards;
mod since;
pub mod tell;
pub mod track;
pub mod trigger;
pub mod weekly;
