//! Renders a report for people and programs.
