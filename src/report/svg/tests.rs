//! What a person reads off the picture.

use super::*;
use crate::model::Workload;

/// The endpoint of a number.
pub(super) fn named(number: u8) -> Endpoint {
    workload("shop", &format!("w{number}"))
}

fn workload(namespace: &str, name: &str) -> Endpoint {
    let kind = "Deployment".to_owned();
    Endpoint::Workload(Workload { kind, namespace: namespace.to_owned(), name: name.to_owned() })
}

/// A flow between two numbers.
pub(super) fn arrow(kind: Option<Kind>, from: u8, to: u8, ports: &str) -> Arrow {
    between(kind, &named(from), &named(to), ports)
}

fn between(kind: Option<Kind>, source: &Endpoint, destination: &Endpoint, ports: &str) -> Arrow {
    let words = format!("{source} -> {destination}: {ports}");
    Arrow { source: source.clone(), destination: destination.clone(), kind, ports: ports.to_owned(), words }
}

fn parsed(text: &str) -> roxmltree::Document<'_> {
    roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The titles of all lines, and of all boxes.
fn titles(text: &str) -> Vec<String> {
    let document = parsed(text);
    let titles = document.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    titles.filter_map(|title| title.text().map(str::to_owned)).collect()
}

#[test]
fn names_cannot_become_markup_or_leave_their_line() {
    let hostile = "</title><script>alert(1)</script>&\"'<![CDATA[ ]]>\u{0}\u{8}\u{fffe}\u{ffff}\u{202e}";
    let end = workload(hostile, hostile);
    let outside = Endpoint::External { name: Some(hostile.to_owned()), cidrs: vec!["0.0.0.0/0".parse().unwrap()] };
    let picture = Picture {
        title: hostile.to_owned(),
        arrows: vec![between(Some(Kind::Added), &end, &outside, hostile)],
        marks: BTreeMap::from([(Endpoint::Host { name: hostile.to_owned() }, Kind::Removed)]),
        notes: vec![hostile.to_owned()],
    };
    let text = picture.draw();
    let document = parsed(&text);
    let mut tags: Vec<&str> =
        document.descendants().filter(roxmltree::Node::is_element).map(|node| node.tag_name().name()).collect();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags, ["circle", "desc", "g", "path", "rect", "svg", "text", "title"]);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let names =
        |node: roxmltree::Node<'_, '_>| -> Vec<String> { node.attributes().map(|a| a.name().to_owned()).collect() };
    assert!(document.descendants().flat_map(names).all(|name| !name.starts_with("on") && name != "href"));
}

#[test]
fn every_flow_is_told_by_the_title_of_its_line() {
    let arrows = vec![
        arrow(None, 1, 2, "80/TCP"),
        arrow(None, 3, 2, "80/TCP"),
        arrow(None, 2, 1, "all ports"),
        between(None, &named(1), &Endpoint::Host { name: "n".to_owned() }, "53/UDP"),
    ];
    let text = Picture { arrows: arrows.clone(), ..Picture::default() }.draw();
    let told = titles(&text);
    for arrow in &arrows {
        assert!(told.iter().any(|title| title.lines().any(|line| line == arrow.words)), "{}: {told:?}", arrow.words);
    }
    assert!(told.contains(&format!("{}\n{}", arrows[0].words, arrows[1].words)), "{told:?}");
}

#[test]
fn what_is_drawn_lies_within_the_picture_and_lines_do_not_lie_upon_each_other() {
    let arrows: Vec<Arrow> = (0..30_u8).map(|n| arrow(None, n % 7, (n + 3) % 7, &format!("{n}/TCP"))).collect();
    let text = Picture { arrows, ..Picture::default() }.draw();
    let document = parsed(&text);
    let number =
        |node: &roxmltree::Node<'_, '_>, name: &str| node.attribute(name).and_then(|text| text.parse::<usize>().ok());
    let root = document.root_element();
    let (width, height) = (number(&root, "width").unwrap(), number(&root, "height").unwrap());
    for rect in document.descendants().filter(|node| node.tag_name().name() == "rect") {
        let at = |name| number(&rect, name).unwrap_or_default();
        assert!(at("x") + at("width") <= width && at("y") + at("height") <= height, "{rect:?}");
    }
    let lines = document.descendants().filter(|node| node.tag_name().name() == "path");
    let horizontal = lines.filter_map(|path| Some(path.attribute("d")?.to_owned())).filter(|d| d.contains('H'));
    let mut heights: Vec<String> = horizontal.map(|d| d.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(heights.len(), 30);
    heights.dedup();
    assert_eq!(heights.len(), 30, "{heights:?}");
}

#[test]
fn the_order_of_flows_does_not_move_anything() {
    let arrows: Vec<Arrow> = (0..9_u8).map(|n| arrow(None, n % 4, (n + 1) % 5, "x")).collect();
    let mut back = arrows.clone();
    back.reverse();
    let places = |arrows: Vec<Arrow>| -> Vec<String> {
        let text = Picture { arrows, ..Picture::default() }.draw();
        let document = parsed(&text);
        document.descendants().filter_map(|node| node.attribute("d").map(str::to_owned)).collect()
    };
    assert_eq!(places(arrows), places(back));
}
