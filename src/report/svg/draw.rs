//! The markup.

use super::{
    Picture,
    lanes::Lane,
    layout::{Column, LINE, Layout, MARGIN},
    safe,
};
use crate::report::{
    clean::{self, put},
    diff::Kind,
};

/// The height of a line with its ports above it.
const LANE: usize = 30;
/// With more lines than this the endpoints stand below them, too.
const REPEATED: usize = 20;
/// Characters of a note, which is told in full by the other outputs.
pub(super) const NOTE: usize = 160;
/// Characters of the ports on a line; all of them are in its title.
const PORTS: usize = 100;
/// Ink of lines where nothing is compared.
const INK: &str = "#1f3b57";
/// What a reader has to know.
const LEGEND: [&str; 2] = [
    "On each line flows begin at ● and end at ▶: every ● may reach every ▶ but itself, on the ports above the line.",
    "Flows share a line where that is true of all of them.",
];
const DESCRIPTION: &str =
    "Endpoints are columns, grouped by namespace; each line is a set of flows with the same ports, told in its title.";

/// How a kind of flow is told apart: by colour (of Okabe and Ito's palette, which colour-blind people tell apart), by
/// dashes, and by a sign.
const fn look(kind: Option<Kind>) -> (&'static str, &'static str) {
    match kind {
        None => (INK, ""),
        Some(Kind::Added) => ("#00785a", ""),
        Some(Kind::Removed) => ("#c04a00", " stroke-dasharray=\"7 4\""),
        Some(Kind::Changed) => ("#0066a6", " stroke-dasharray=\"12 3 2 3\""),
    }
}

/// Where things stand from top to bottom.
struct Rows {
    legend: usize,
    head: usize,
    boxes: usize,
    box_height: usize,
    first: usize,
    /// The boxes below the lines, where they are repeated.
    again: Option<usize>,
    bottom: usize,
    end: usize,
}

impl Rows {
    fn of(picture: &Picture, layout: &Layout, lanes: &[Lane]) -> Self {
        let tallest = |lines: &mut dyn Iterator<Item = usize>| lines.max().unwrap_or_default();
        let heading = tallest(&mut layout.groups.iter().map(|group| group.heading.len()));
        let name = tallest(&mut layout.columns.iter().map(|column| column.name.len()));
        let legend = MARGIN + 44;
        let head = legend + LEGEND.len() * (LINE + 2) + if picture.is_compared() { LINE + 6 } else { 0 };
        let boxes = head + heading * LINE + 16;
        let box_height = (name + 1) * LINE + 12;
        let first = boxes + box_height + LANE;
        let below = first + lanes.len() * LANE;
        let again = (lanes.len() > REPEATED).then_some(below);
        let bottom = if layout.columns.is_empty() { head } else { below + again.map_or(0, |_| box_height + 12) };
        let end = bottom + MARGIN + picture.notes.len() * (LINE + 2);
        Self { legend, head, boxes, box_height, first, again, bottom, end }
    }
}

impl Picture {
    /// Whether two sets are compared.
    fn is_compared(&self) -> bool {
        !self.marks.is_empty() || self.arrows.iter().any(|arrow| arrow.kind.is_some())
    }
}

/// The whole document.
pub(super) fn document(picture: &Picture, layout: &Layout, lanes: &[Lane]) -> String {
    let rows = Rows::of(picture, layout, lanes);
    let (width, height) = (layout.width, rows.end);
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"flows-title flows-desc\" \
             font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" font-size=\"12\" fill=\"#1b1b1b\">\n\
             <title id=\"flows-title\">{}</title>\n<desc id=\"flows-desc\">{DESCRIPTION}</desc>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <text x=\"{MARGIN}\" y=\"{}\" font-size=\"18\" font-weight=\"bold\">{0}</text>\n",
            safe(&picture.title),
            MARGIN + 14,
        ),
    );
    legend(&mut out, picture, &rows);
    groups(&mut out, layout, &rows);
    lifelines(&mut out, layout, &rows);
    for (number, lane) in lanes.iter().enumerate() {
        self::lane(&mut out, picture, layout, lane, rows.first + number * LANE);
    }
    for top in std::iter::once(rows.boxes).chain(rows.again) {
        for column in &layout.columns {
            endpoint(&mut out, column, top, rows.box_height);
        }
    }
    notes(&mut out, picture, &rows);
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String, picture: &Picture, rows: &Rows) {
    let mut y = rows.legend;
    for line in LEGEND {
        put(out, format_args!("<text x=\"{MARGIN}\" y=\"{y}\" fill=\"#444444\">{line}</text>\n"));
        y += LINE + 2;
    }
    if !picture.is_compared() {
        return;
    }
    y += 6;
    let samples =
        [(Kind::Added, "+ added"), (Kind::Removed, "- removed"), (Kind::Changed, "~ changed: before => after")];
    for (number, (kind, words)) in samples.into_iter().enumerate() {
        let (ink, dashes) = look(Some(kind));
        let x = MARGIN + number * 170;
        put(
            out,
            format_args!(
                "<path d=\"M{x} {} H{}\" stroke=\"{ink}\" stroke-width=\"2\"{dashes}/>\
                 <text x=\"{}\" y=\"{y}\" fill=\"{ink}\" font-weight=\"bold\">{words}</text>\n",
                y - 4,
                x + 48,
                x + 56,
            ),
        );
    }
}

/// The namespaces: bands from top to bottom.
fn groups(out: &mut String, layout: &Layout, rows: &Rows) {
    for (number, group) in layout.groups.iter().enumerate() {
        let fill = match (group.is_namespace, number % 2) {
            (false, _) => "#ffffff\" stroke-dasharray=\"2 3",
            (true, 0) => "#eaf0f7",
            (true, _) => "#f4f1e8",
        };
        put(
            out,
            format_args!(
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"{fill}\" stroke=\"#8a97a5\"/>\n",
                group.left,
                rows.head,
                group.width,
                rows.bottom - rows.head,
            ),
        );
        let middle = group.left + group.width / 2;
        text_lines(out, &group.heading, (middle, rows.head + LINE + 2), " font-weight=\"bold\"");
    }
}

fn lifelines(out: &mut String, layout: &Layout, rows: &Rows) {
    for column in &layout.columns {
        let (x, bottom) = (column.x, rows.again.unwrap_or(rows.bottom - 6));
        let top = rows.boxes + rows.box_height;
        put(out, format_args!("<path d=\"M{x} {top} V{bottom}\" stroke=\"#b4bcc6\"/>\n"));
    }
}

/// The box of an endpoint.
fn endpoint(out: &mut String, column: &Column, top: usize, height: usize) {
    let (ink, dashes) = column.mark.map_or(("#5b6b7c", ""), |kind| look(Some(kind)));
    put(
        out,
        format_args!(
            "<g><title>{}</title><rect x=\"{}\" y=\"{top}\" width=\"{}\" height=\"{height}\" rx=\"4\" fill=\"#ffffff\" \
             stroke=\"{ink}\"{dashes}/>\n",
            safe(&column.full),
            column.x - column.width / 2,
            column.width,
        ),
    );
    text_lines(out, &column.name, (column.x, top + LINE + 2), "");
    let caption = std::slice::from_ref(&column.caption);
    text_lines(out, caption, (column.x, top + height - 7), " font-size=\"10\" fill=\"#5b6b7c\"");
    out.push_str("</g>\n");
}

/// Lines of text around a middle.
fn text_lines(out: &mut String, lines: &[String], (x, y): (usize, usize), look: &str) {
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let y = y + number * LINE;
        put(out, format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\"{look}>{}</text>\n", safe(line)));
    }
}

/// One line with what begins and ends on it.
fn lane(out: &mut String, picture: &Picture, layout: &Layout, lane: &Lane, y: usize) {
    let (ink, dashes) = look(lane.kind);
    put(out, format_args!("<g stroke=\"{ink}\" fill=\"{ink}\"><title>"));
    for (number, arrow) in lane.arrows.iter().filter_map(|index| picture.arrows.get(*index)).enumerate() {
        let gap = if number > 0 { "\n" } else { "" };
        put(out, format_args!("{gap}{}", safe(&arrow.words)));
    }
    let (first, last) = lane.span();
    let [left, right] = [first, last].map(|column| layout.x(column));
    // A line that ended at the very tip of its arrow would make it blunt.
    let ends = [first, last].map(|column| if lane.sources.contains(&column) { 0 } else { 5 });
    put(
        out,
        format_args!(
            "</title><path d=\"M{} {y} H{}\" stroke-width=\"2\"{dashes}/>",
            left + ends[0],
            right.saturating_sub(ends[1])
        ),
    );
    for column in &lane.destinations {
        heads(out, layout, lane, *column, y);
    }
    for column in &lane.sources {
        put(out, format_args!("<circle cx=\"{}\" cy=\"{y}\" r=\"4\"/>", layout.x(*column)));
    }
    ports(out, lane, (left, layout.width), y);
    out.push_str("</g>\n");
}

/// The arrow heads at a destination: from each side that a source is on.
fn heads(out: &mut String, layout: &Layout, lane: &Lane, column: usize, y: usize) {
    let x = layout.x(column);
    let room = if lane.sources.contains(&column) { 5 } else { 0 };
    let mut head = |tip: usize, back: usize| {
        put(out, format_args!("<path d=\"M{tip} {y} L{back} {} V{} Z\" stroke=\"none\"/>", y - 5, y + 5));
    };
    if lane.sources.iter().any(|source| *source < column) {
        head(x - room, x - room - 10);
    }
    if lane.sources.iter().any(|source| *source > column) {
        head(x + room, x + room + 10);
    }
}

/// The ports, above the left end of the line.
fn ports(out: &mut String, lane: &Lane, (left, width): (usize, usize), y: usize) {
    let sign = lane.kind.map(|kind| format!("{} ", kind.sign())).unwrap_or_default();
    let text = clean::line(&format!("{sign}{}", lane.ports), PORTS);
    let length = text.chars().count() * 13 / 2 + 6;
    let x = (left + 12).min(width.saturating_sub(MARGIN + length));
    put(
        out,
        format_args!(
            "<rect x=\"{}\" y=\"{}\" width=\"{length}\" height=\"13\" fill=\"#ffffff\" fill-opacity=\"0.8\" stroke=\"none\"/>\
             <text x=\"{x}\" y=\"{}\" font-size=\"11\" stroke=\"none\">{}</text>",
            x.saturating_sub(3),
            y - 17,
            y - 6,
            clean::escape(&text),
        ),
    );
}

fn notes(out: &mut String, picture: &Picture, rows: &Rows) {
    for (number, note) in picture.notes.iter().enumerate() {
        let y = rows.bottom + MARGIN + number * (LINE + 2);
        put(out, format_args!("<text x=\"{MARGIN}\" y=\"{y}\">{}</text>\n", clean::escape(&clean::line(note, NOTE))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_differ_by_colour_and_by_dashes() {
        let looks = [Kind::Added, Kind::Removed, Kind::Changed].map(|kind| look(Some(kind)));
        for (number, (ink, dashes)) in looks.iter().enumerate() {
            let others = looks.iter().take(number);
            assert!(others.clone().all(|(other, _)| other != ink) && others.clone().all(|(_, other)| other != dashes));
        }
    }
}
