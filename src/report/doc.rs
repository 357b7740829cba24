//! A message before it is plain text or HTML, so that both have the same words.
//!
//! Only tags of the Matrix specification's list are written (client-server API, `m.room.message` msgtypes,
//! "`org.matrix.custom.html`"): `p br b i code pre ul li a`.

use super::{
    clean::{self, escape, put},
    words::{NAME, SENTENCE},
};

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    style: Style,
    text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Style {
    Plain,
    Code,
    /// Code that keeps its backticks in plain text.
    Command,
    Link(String),
}

impl Span {
    /// Words, ours or another program's: one line, bounded.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self { style: Style::Plain, text: keep_edges(text.as_ref()) }
    }

    /// A name: monospaced in HTML.
    pub fn code(text: impl AsRef<str>) -> Self {
        Self { style: Style::Code, text: clean::line(text.as_ref(), 6 * NAME) }
    }

    /// Something to type: monospaced, in backticks in plain text.
    pub fn command(text: impl AsRef<str>) -> Self {
        Self { style: Style::Command, text: clean::line(text.as_ref(), 6 * NAME) }
    }

    /// Words that lead somewhere; the caller vouches for the address.
    pub fn link(text: impl AsRef<str>, href: String) -> Self {
        Self { style: Style::Link(href), text: clean::line(text.as_ref(), 3 * NAME) }
    }

    fn plain(&self, out: &mut String) {
        match self.style {
            Style::Command => {
                out.push('`');
                out.push_str(&self.text);
                out.push('`');
            }
            Style::Plain | Style::Code | Style::Link(_) => out.push_str(&self.text),
        }
    }

    fn html(&self, out: &mut String) {
        let text = escape(&self.text);
        match &self.style {
            Style::Plain if text.matches('`').count().is_multiple_of(2) => {
                for (index, part) in text.split('`').enumerate() {
                    if index % 2 == 1 {
                        put(out, format_args!("<code>{part}</code>"));
                    } else {
                        out.push_str(part);
                    }
                }
            }
            Style::Plain => out.push_str(&text),
            Style::Code | Style::Command => put(out, format_args!("<code>{text}</code>")),
            Style::Link(href) => put(out, format_args!("<a href=\"{}\">{text}</a>", escape(href))),
        }
    }
}

/// Cleans, but keeps a space at either end: spans are set side by side.
fn keep_edges(text: &str) -> String {
    let mut out = clean::line(text, SENTENCE);
    if text.starts_with(' ') && !out.is_empty() {
        out.insert(0, ' ');
    }
    if text.ends_with(' ') {
        out.push(' ');
    }
    out
}

/// What stands before a line that begins as only first lines do, whoever named it so.
fn guard(spans: &[Span]) -> &'static str {
    let first = spans.iter().find_map(|span| span.text.trim_start().chars().next());
    if matches!(first, Some('✅' | '❌' | '⚠')) { "· " } else { "" }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The first line, which stands alone in a notification.
    Head(Vec<Span>),
    /// A line that begins a paragraph.
    Line(Vec<Span>),
    /// A line of the paragraph before it.
    More(Vec<Span>),
    /// A line of a list.
    Item(Vec<Span>),
    /// A line in small print.
    Note(Vec<Span>),
    /// Text to paste, in a language for colouring.
    Code(&'static str, String),
}

impl Block {
    fn plain(&self, out: &mut String) {
        let spans = match self {
            Self::Head(spans) => spans,
            Self::Line(spans) | Self::More(spans) | Self::Note(spans) => {
                out.push_str(guard(spans));
                spans
            }
            Self::Item(spans) => {
                out.push_str("• ");
                spans
            }
            // Not indented: what is there to paste has the indentation of its file.
            Self::Code("yaml", text) => {
                out.push_str(text);
                out.push('\n');
                return;
            }
            Self::Code(_, text) => {
                for line in text.lines() {
                    put(out, format_args!("    {line}\n"));
                }
                return;
            }
        };
        for span in spans {
            span.plain(out);
        }
        out.push('\n');
    }

    fn open(&self) -> &'static str {
        match self {
            Self::Head(_) => "<p><b>",
            Self::Line(_) => "<p>",
            Self::More(_) => "<br>",
            Self::Item(_) => "<li>",
            Self::Note(_) => "<p><i>",
            Self::Code(..) => "<pre>",
        }
    }

    fn html(&self, out: &mut String) {
        out.push_str(self.open());
        match self {
            Self::Head(spans) => {
                for span in spans {
                    span.html(out);
                }
                out.push_str("</b>");
            }
            Self::Note(spans) => {
                out.push_str(guard(spans));
                for span in spans {
                    span.html(out);
                }
                out.push_str("</i>");
            }
            Self::Line(spans) | Self::More(spans) => {
                out.push_str(guard(spans));
                for span in spans {
                    span.html(out);
                }
            }
            Self::Item(spans) => {
                for span in spans {
                    span.html(out);
                }
                out.push_str("</li>");
            }
            Self::Code(language, text) => {
                put(out, format_args!("<code class=\"language-{language}\">{}\n</code></pre>", escape(text)));
            }
        }
    }

    /// What the block adds to an event, in bytes of JSON: both forms, with what JSON escapes.
    pub fn weight(&self) -> usize {
        let (mut plain, mut html) = (String::new(), String::new());
        self.plain(&mut plain);
        self.html(&mut html);
        let extra = plain.bytes().chain(html.bytes()).filter(|b| matches!(b, b'"' | b'\\' | b'\n')).count();
        // The tags that close what it opens: `</p>`, `<ul></ul>`.
        plain.len() + html.len() + extra + 9
    }
}

/// Both forms of a message.
pub fn render(blocks: &[Block]) -> (String, String) {
    let (mut plain, mut html) = (String::new(), String::new());
    let mut open = "";
    for block in blocks {
        if matches!(block, Block::Head(_)) && !plain.is_empty() {
            plain.push('\n');
        }
        block.plain(&mut plain);
        let wanted = match block {
            Block::Head(_) | Block::Line(_) | Block::More(_) | Block::Note(_) => "</p>",
            Block::Item(_) => "</ul>",
            Block::Code(..) => "",
        };
        let continues = open == wanted && matches!(block, Block::More(_) | Block::Item(_));
        if !continues {
            html.push_str(open);
            match block {
                Block::Item(_) => html.push_str("<ul>"),
                // A paragraph that a code block ended goes on as a new one.
                Block::More(spans) => {
                    Block::Line(spans.clone()).html(&mut html);
                    open = wanted;
                    continue;
                }
                _ => {}
            }
        }
        block.html(&mut html);
        open = wanted;
    }
    html.push_str(open);
    (plain.trim_end().to_owned(), html)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_have_the_same_words() {
        let blocks = [
            Block::Head(vec![Span::text("❌ infra "), Span::link("main@4f2c9ab", "https://git.test/?a=1&b=\"".into())]),
            Block::Line(vec![Span::code("a<b"), Span::text(" & `more`")]),
            Block::More(vec![Span::text("Run "), Span::command("flux get")]),
            Block::Code("yaml", "- from:\n  - x".into()),
            Block::More(vec![Span::text("after")]),
            Block::Item(vec![Span::text("one")]),
            Block::Item(vec![Span::text("two")]),
            Block::Note(vec![Span::text("end")]),
        ];
        let (plain, html) = render(&blocks);
        assert_eq!(
            plain,
            "❌ infra main@4f2c9ab\na<b & `more`\nRun `flux get`\n- from:\n  - x\nafter\n• one\n• two\nend"
        );
        assert_eq!(
            html,
            "<p><b>❌ infra <a href=\"https://git.test/?a=1&amp;b=&quot;\">main@4f2c9ab</a></b></p>\
             <p><code>a&lt;b</code> &amp; <code>more</code><br>Run <code>flux get</code></p>\
             <pre><code class=\"language-yaml\">- from:\n  - x\n</code></pre><p>after</p>\
             <ul><li>one</li><li>two</li></ul><p><i>end</i></p>"
        );
        let weight: usize = blocks.iter().map(Block::weight).sum();
        assert!(weight >= plain.len() + html.len());
    }
}
