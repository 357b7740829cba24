//! Makes text of the cluster harmless: no control or invisible characters, no changes of direction, bounded length.

use std::fmt::{self, Write as _};

/// What stands for a character that is taken out, so that a reader sees that something was there.
const REPLACED: char = '\u{FFFD}';

/// Whether a character could change how the text around it is read without being seen itself.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FE00}'..='\u{FE0E}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFF}'
            | '\u{E0000}'..='\u{E0FFF}')
}

/// One line of at most `max` characters: white space becomes single spaces, deceptive characters become `\u{FFFD}`.
pub fn line(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() {
            gap = length > 0;
            continue;
        }
        if length + usize::from(gap) >= max {
            out.push('…');
            return out;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
            length += 1;
        }
        out.push(if is_deceptive(c) { REPLACED } else { c });
        length += 1;
    }
    out
}

/// Several lines, each and all bounded; indentation stays, tabs become two spaces. `None` where something had to be
/// left out, for text that is of use only whole.
pub fn block(text: &str, max_lines: usize, max: usize) -> Option<String> {
    let text = text.trim_end();
    if text.lines().count() > max_lines || text.chars().count() > max {
        return None;
    }
    Some(text.lines().map(harmless).collect::<Vec<_>>().join("\n"))
}

/// Several lines, cut with a word on how much is left out.
pub fn cut_block(text: &str, max_lines: usize, max: usize) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut length = 0;
    let total = text.trim_end().lines().count();
    for text in text.trim_end().lines().take(max_lines) {
        let kept: String = harmless(text).chars().take(300).collect();
        length += kept.chars().count() + 1;
        if length > max {
            break;
        }
        out.push(kept);
    }
    if out.len() < total {
        out.push(format!("… {}", super::words::count(total - out.len(), "more line")));
    }
    out.join("\n")
}

fn harmless(line: &str) -> String {
    line.chars()
        .flat_map(|c| match c {
            '\t' => vec![' ', ' '],
            c if is_deceptive(c) => vec![REPLACED],
            c => vec![c],
        })
        .collect()
}

/// Appends formatted text.
pub fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Escapes the five characters that mean something in HTML text and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_start_a_line_hide_or_turn_text_around() {
        for (text, shown) in [
            ("shop/web", "shop/web"),
            ("shop\n✅ infra verified", "shop ✅ infra verified"),
            ("  a \t\r\n b  ", "a b"),
            ("a\u{202e}b\u{2066}c\u{200b}d\u{1b}[31m", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}[31m"),
            ("tag\u{e0041}", "tag\u{fffd}"),
        ] {
            assert_eq!(line(text, 100), shown, "{text:?}");
        }
        assert_eq!(line("abcdef", 3), "abc…");
        assert_eq!(line("abc", 3), "abc");
        assert_eq!(line("ab  cdef", 3), "ab…", "a space is not left hanging");
    }

    #[test]
    fn a_block_is_whole_or_absent_and_a_cut_block_says_what_it_lacks() {
        assert_eq!(block("- from:\n\t- a\u{202e}\n", 10, 100).as_deref(), Some("- from:\n  - a\u{fffd}"));
        assert_eq!(block("a\nb\nc", 2, 100), None);
        assert_eq!(cut_block("a\nb\nc", 1, 100), "a\n… 2 more lines");
        assert_eq!(cut_block("a\nb\n", 2, 100), "a\nb");
    }
}
