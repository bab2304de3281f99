//! The colours of the pages: text and marks can be told from what is behind them, in both themes
//! (WCAG 2.2, success criteria 1.4.3 and 1.4.11).

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../src/style.css");

/// The variables of the light theme, and those of the dark one.
fn themes() -> [BTreeMap<&'static str, [f64; 3]>; 2] {
    let roots: Vec<&str> = STYLE.split(":root{").skip(1).collect();
    let of = |root: &'static str| {
        let body = root.split('}').next().unwrap();
        let pairs = body.split(';').filter_map(|pair| {
            let (name, value) = pair.trim().strip_prefix("--")?.split_once(":#")?;
            Some((name, colour(value)))
        });
        pairs.collect::<BTreeMap<_, _>>()
    };
    [of(roots[0]), of(roots[1])]
}

fn colour(hex: &str) -> [f64; 3] {
    let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16).unwrap()).collect();
    let channel = |index: usize| match digits.len() {
        3 => digits[index] * 17,
        _ => digits[2 * index] * 16 + digits[2 * index + 1],
    };
    [0, 1, 2].map(|index| f64::from(channel(index)) / 255.0)
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = colour.map(|c| match c {
        c if c <= 0.04045 => c / 12.92,
        c => ((c + 0.055) / 1.055).powf(2.4),
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (a, b) = (luminance(one), luminance(other));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[track_caller]
fn check(pairs: &[(&str, &str)], least: f64) {
    for (theme, colours) in ["light", "dark"].iter().zip(themes()) {
        for (front, back) in pairs {
            let ratio = contrast(colours[front], colours[back]);
            assert!(
                ratio >= least,
                "{theme}: {front} on {back} has {ratio:.2}:1"
            );
        }
    }
}

#[test]
fn contrasts_have_their_known_values() {
    assert!((contrast(colour("000"), colour("fff")) - 21.0).abs() < 1e-9);
    assert!((contrast(colour("777777"), colour("ffffff")) - 4.478).abs() < 1e-3);
}

#[test]
fn text_has_a_contrast_of_four_and_a_half() {
    check(
        &[
            ("ink", "page"),
            ("ink", "card"),
            ("ink", "fill"),
            ("ink", "accent-soft"),
            ("ink", "good-soft"),
            ("ink", "bad-soft"),
            ("ink", "warn-soft"),
            ("soft", "page"),
            ("soft", "card"),
            ("soft", "accent-soft"),
            ("accent", "card"),
            ("good", "good-soft"),
            ("good", "card"),
            ("bad", "bad-soft"),
            ("bad", "card"),
            ("page", "ink"),
        ],
        4.5,
    );
}

#[test]
fn marks_have_a_contrast_of_three() {
    check(
        &[
            ("c0", "card"),
            ("c1", "card"),
            ("c2", "card"),
            ("c3", "card"),
            ("c4", "card"),
            ("c5", "card"),
            ("over", "card"),
            ("accent", "card"),
            ("bad", "card"),
            ("good", "card"),
        ],
        3.0,
    );
}
