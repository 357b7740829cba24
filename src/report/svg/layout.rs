//! Where columns stand, and how wide they are. All lengths are in units of the picture (pixels at its own size).

use std::collections::{BTreeMap, BTreeSet};

use super::Picture;
use crate::{
    model::Endpoint,
    report::{diff::Kind, flows::endpoint_text},
};

/// Room around everything.
pub(super) const MARGIN: usize = 24;
/// Room between columns, and between a group's border and its first column.
const GAP: usize = 8;
/// The width of a character of a name: the widest common fonts have about this at 12 units.
const CHARACTER: usize = 7;
/// The height of a line of a name.
pub(super) const LINE: usize = 15;
/// Characters of a line of a name, where it can be broken: `169.254.169.254/32,` fits.
const WRAP: usize = 19;
/// Lines of a name.
const LINES: usize = 9;
/// The least width: the legend has to fit.
const LEAST: usize = 800;

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// The name, in lines.
    pub name: Vec<String>,
    /// What it is, below the name.
    pub caption: String,
    /// The whole name.
    pub full: String,
    /// Set where only one of two sets has it.
    pub mark: Option<Kind>,
    /// Its middle.
    pub x: usize,
    /// The width of its box.
    pub width: usize,
}

/// A namespace with its workloads, all nodes, or all that is outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The heading, in lines.
    pub heading: Vec<String>,
    /// Whether it is a namespace.
    pub is_namespace: bool,
    /// Its left end.
    pub left: usize,
    /// Its width.
    pub width: usize,
}

/// Everything that does not depend on the flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    places: BTreeMap<Endpoint, usize>,
    /// Endpoints, from left to right.
    pub columns: Vec<Column>,
    /// Groups, from left to right.
    pub groups: Vec<Group>,
    /// The width of all.
    pub width: usize,
}

/// What stands together, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Home<'e> {
    Namespace(&'e str),
    Nodes,
    Outside,
}

impl<'e> Home<'e> {
    fn of(endpoint: &'e Endpoint) -> Self {
        match endpoint {
            Endpoint::Workload(workload) => Self::Namespace(&workload.namespace),
            Endpoint::Host { .. } => Self::Nodes,
            Endpoint::External { .. } => Self::Outside,
        }
    }

    const fn heading(self) -> &'e str {
        match self {
            Self::Namespace(name) => name,
            Self::Nodes => "nodes",
            Self::Outside => "outside the cluster",
        }
    }
}

impl Layout {
    /// Places the ends of all flows.
    pub fn of(picture: &Picture) -> Self {
        let flows = picture.arrows.iter();
        let ends: BTreeSet<&Endpoint> =
            flows.flat_map(|arrow| [&arrow.source, &arrow.destination]).chain(picture.marks.keys()).collect();
        let name = |endpoint: &&Endpoint| match endpoint {
            Endpoint::Workload(workload) => workload.name.clone(),
            _ => String::new(),
        };
        let mut ends: Vec<&Endpoint> = ends.into_iter().collect();
        ends.sort_by_cached_key(|endpoint| (Home::of(endpoint), name(endpoint), *endpoint));
        let mut layout = Self { places: BTreeMap::new(), columns: Vec::new(), groups: Vec::new(), width: MARGIN };
        for members in ends.chunk_by(|a, b| Home::of(a) == Home::of(b)) {
            layout.add(members, picture);
        }
        // The title is larger than the notes.
        let text = |text: &str, most: usize, width: usize| text.chars().count().min(most) * width + 2 * MARGIN;
        let notes = picture.notes.iter().map(|note| text(note, super::draw::NOTE, CHARACTER));
        let texts = notes.chain([text(&picture.title, super::TEXT, 12), LEAST]);
        layout.width = texts.fold((layout.width + MARGIN).saturating_sub(GAP), usize::max);
        layout
    }

    /// Adds a group at the right.
    fn add(&mut self, members: &[&Endpoint], picture: &Picture) {
        let Some(home) = members.first().map(|first| Home::of(first)) else { return };
        let title = super::clean::line(home.heading(), super::TEXT);
        let mut columns: Vec<Column> = members.iter().map(|endpoint| column(endpoint, picture)).collect();
        let taken: usize = columns.iter().map(|column| column.width + GAP).sum::<usize>() + GAP;
        // In bold.
        let asked = |lines: &[String]| widest(lines) * 8 / 7 + 2 * GAP;
        let whole = vec![title.clone()];
        let heading = if asked(&whole) <= taken { whole } else { wrap(&title, OF_NAMES) };
        // A long heading makes its columns wider.
        let more = asked(&heading).saturating_sub(taken).div_ceil(columns.len().max(1));
        let left = self.width;
        let mut x = left + GAP;
        for (endpoint, column) in members.iter().zip(&mut columns) {
            column.width += more;
            column.x = x + column.width / 2;
            x += column.width + GAP;
            self.places.insert((*endpoint).clone(), self.places.len());
        }
        self.columns.extend(columns);
        let is_namespace = matches!(home, Home::Namespace(_));
        self.groups.push(Group { heading, is_namespace, left, width: x - left });
        self.width = x + GAP;
    }

    /// The column of an endpoint.
    pub fn column_of(&self, endpoint: &Endpoint) -> usize {
        self.places.get(endpoint).copied().unwrap_or_default()
    }

    /// The middle of a column.
    pub fn x(&self, column: usize) -> usize {
        self.columns.get(column).map_or(MARGIN, |column| column.x)
    }
}

fn column(endpoint: &Endpoint, picture: &Picture) -> Column {
    let full = endpoint_text(endpoint);
    let (name, caption, separators) = match endpoint {
        Endpoint::Workload(workload) => (workload.name.as_str(), workload.kind.as_str(), OF_NAMES),
        Endpoint::Host { name } => (name.as_str(), "node", OF_NAMES),
        Endpoint::External { .. } => (full.as_str(), "", OF_BLOCKS),
    };
    let mark = picture.marks.get(endpoint).copied();
    let sign = mark.map(|kind| format!("{} ", kind.sign())).unwrap_or_default();
    let clean = |text: &str| super::clean::line(text, super::TEXT);
    let (name, caption) = (wrap(&format!("{sign}{}", clean(name)), separators), clean(caption));
    let width = widest(&name).max(caption.chars().count() * CHARACTER) + 2 * GAP;
    Column { name, caption, full, mark, x: 0, width }
}

fn widest(lines: &[String]) -> usize {
    lines.iter().map(|line| line.chars().count()).max().unwrap_or_default() * CHARACTER
}

/// What separates the parts of a name.
const OF_NAMES: &[char] = &['-', '.', '/', ':', ' '];
/// What separates blocks of addresses.
const OF_BLOCKS: &[char] = &[',', ' '];

/// Lines of a name, broken behind what separates its parts, or anywhere where a part is too long.
fn wrap(name: &str, separators: &[char]) -> Vec<String> {
    let mut lines = vec![String::new()];
    for part in name.split_inclusive(separators) {
        let part: Vec<char> = part.chars().collect();
        for piece in part.chunks(WRAP) {
            let taken = lines.last().map_or(0, |line| line.chars().count());
            if taken + piece.len() > WRAP && taken > 0 {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                line.extend(piece);
            }
        }
    }
    let mut lines: Vec<String> = lines.into_iter().map(|line| line.trim_end().to_owned()).collect();
    if lines.len() > LINES {
        lines.truncate(LINES);
        lines.iter_mut().last().into_iter().for_each(|line| line.push('…'));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_broken_where_their_parts_end() {
        assert_eq!(wrap("odoo", OF_NAMES), ["odoo"]);
        assert_eq!(wrap("envoy-gateway-system", OF_NAMES), ["envoy-gateway-", "system"]);
        let outside = "0.0.0.0/0 but 10.0.0.0/8,192.168.77.1/32";
        assert_eq!(wrap(outside, OF_BLOCKS), ["0.0.0.0/0 but", "10.0.0.0/8,", "192.168.77.1/32"]);
        let metadata = "10.0.0.0/8,169.254.169.254/32,192.168.77.1/32";
        assert_eq!(wrap(metadata, OF_BLOCKS), ["10.0.0.0/8,", "169.254.169.254/32,", "192.168.77.1/32"]);
        assert_eq!(wrap(&"x".repeat(40), OF_NAMES), ["x".repeat(19), "x".repeat(19), "x".repeat(2)]);
        let long = wrap(&"name-that-never-ends-".repeat(20), OF_NAMES);
        assert!(long.len() == LINES && long[LINES - 1].ends_with('…'), "{long:?}");
    }
}
