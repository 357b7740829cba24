//! The report for a terminal or a log (`-o text`): the message and all of its details, nothing cut but single items.

use super::{MessageOptions, doc::render, message, thread};
use crate::model::Report;

/// The run in words, with a line break at its end.
#[must_use]
pub fn to_text(report: &Report, options: &MessageOptions) -> String {
    let (head, _) = render(&message::blocks(report, options, usize::MAX, usize::MAX).blocks);
    let mut blocks = Vec::new();
    for group in thread::groups(report, options) {
        blocks.extend(group);
    }
    let (rest, _) = render(&blocks);
    format!("{head}\n\n{rest}\n")
}
