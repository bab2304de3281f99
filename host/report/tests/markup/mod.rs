//! Checks and formatting of pages.
#![allow(dead_code, reason = "every test binary uses a part")]

use std::collections::HashSet;

/// HTML elements without an end tag.
const VOID: [&str; 1] = ["meta"];

/// Attributes of SVG whose values are numbers.
const COORDINATES: [&str; 11] = [
    "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height",
];

/// One tag or text of a page.
enum Part<'a> {
    Open(&'a str),
    Close(&'a str),
    Text(&'a str),
}

/// Splits a page into tags and texts, without the content of styles and scripts.
fn parts(html: &str) -> Vec<Part<'_>> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let mut parts = Vec::new();
    while let Some(start) = rest.find('<') {
        let text = &rest[..start];
        assert!(!text.contains('>'), "a bare > in text: {text:?}");
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        rest = &rest[start + 1..];
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let (tag, after) = rest.split_at(end.expect("a tag without end"));
        rest = &after[1..];
        match tag.strip_prefix('/') {
            Some(name) => parts.push(Part::Close(name)),
            None => parts.push(Part::Open(tag)),
        }
        if tag == "style" || tag == "script" {
            rest = &rest[rest.find("</").expect("the end of the element")..];
        }
    }
    parts
}

/// The values of an attribute.
pub fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    let values = html.split(start.as_str()).skip(1);
    values.filter_map(|rest| rest.split('"').next()).collect()
}

/// Returns the names of all opened elements. Panics unless elements are closed in order, ids are
/// unique, labels refer to ids, and coordinates are finite numbers.
pub fn check(html: &str) -> Vec<String> {
    let (mut open, mut names) = (Vec::new(), Vec::new());
    for part in parts(html) {
        match part {
            Part::Text(_) => {}
            Part::Close(name) => assert_eq!(open.pop().as_deref(), Some(name), "out of order"),
            Part::Open(tag) => {
                let name = tag.split(' ').next().unwrap();
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name:?}");
                if !VOID.contains(&name) {
                    open.push(name.to_owned());
                }
                names.push(name.to_owned());
            }
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    let mut ids = HashSet::new();
    for id in values(html, "id") {
        assert!(ids.insert(id), "id twice: {id}");
    }
    for label in values(html, "aria-labelledby") {
        let mut labels = label.split(' ');
        assert!(labels.all(|id| ids.contains(id)), "no id of {label}");
    }
    for attribute in COORDINATES {
        for value in values(html, attribute) {
            let number: Result<f64, _> = value.parse();
            assert!(number.is_ok_and(f64::is_finite), "{attribute}={value}");
        }
    }
    for value in values(html, "points").iter().chain(&values(html, "d")) {
        assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
    }
    names
}

/// The page with one element, tag or text per line, indented by depth.
pub fn pretty(html: &str) -> String {
    let parts = parts(html);
    let mut rest = parts.as_slice();
    let (mut text, mut depth) = (String::new(), 0);
    while let Some((part, mut after)) = rest.split_first() {
        let line = match part {
            Part::Text(content) => (*content).to_owned(),
            Part::Close(name) => {
                depth -= 1;
                format!("</{name}>")
            }
            Part::Open(tag) => match after {
                [Part::Close(name), ..] => {
                    after = &after[1..];
                    format!("<{tag}></{name}>")
                }
                [Part::Text(content), Part::Close(name), ..] => {
                    after = &after[2..];
                    format!("<{tag}>{content}</{name}>")
                }
                _ => format!("<{tag}>"),
            },
        };
        text.push_str(&"  ".repeat(depth));
        text.push_str(&line.replace('\n', "\\n"));
        text.push('\n');
        if let Part::Open(tag) = part
            && !VOID.contains(&tag.split(' ').next().unwrap_or(tag))
            && after.len() + 1 == rest.len()
        {
            depth += 1;
        }
        rest = after;
    }
    text
}
