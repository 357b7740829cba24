//! The use case: verify what Flux applied last, once, and report.
//!
//! It knows the outside only by the traits in [`seams`].

pub mod seams;
