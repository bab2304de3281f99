//! Building blocks of the pages. Maud escapes every text; [`document`] also replaces the
//! characters that disturb the text around them.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::charts::Chart;
use crate::format::{NONE, printable};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// Forbids all requests, whatever the data contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
                      script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A self-contained page.
pub(crate) fn document(title: &str, header: Markup, main: Markup, footer: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (header) }
                main { (main) }
                footer { (footer) }
                div #tip role="status" hidden {}
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    printable(&page.0) + "\n"
}

/// The footer of the pages that describe one network.
pub(crate) fn footer(program: &str) -> Markup {
    let program = or(program, "graphprune");
    html! { "Written by " (program) ". This file needs no network." }
}

/// `text`, or `otherwise` if it is empty.
pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

pub(crate) fn section(id: &str, title: &str, content: Markup) -> Markup {
    let heading = format!("{id}-heading");
    html! {
        section #(id) aria-labelledby=(heading) {
            h2 #(heading) { (title) }
            (content)
        }
    }
}

/// A chart, or its title with the reason `none` for its absence.
pub(crate) fn figure(chart: Option<Chart<'_>>, title: &str, none: &str) -> Markup {
    match chart {
        Some(chart) => chart.figure(),
        None => html! {
            figure {
                h3 { (title) }
                p.none { (none) }
            }
        },
    }
}

/// A card that only holds the remark that something is absent.
pub(crate) fn none(text: &str) -> Markup {
    html! { div.card.text { p.none { (text) } } }
}

/// Named values in one line below the title.
pub(crate) fn facts<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> Markup {
    html! {
        ul.facts {
            @for (name, value) in facts {
                li { (name) " " b { (value) } }
            }
        }
    }
}

/// How a verdict is coloured.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    Good,
    Neutral,
    Bad,
}

/// A verdict in one word and its reason.
pub(crate) fn verdict(tone: Tone, word: &str, why: &str) -> Markup {
    let class = match tone {
        Tone::Good => "verdict met",
        Tone::Neutral => "verdict",
        Tone::Bad => "verdict missed",
    };
    html! {
        div class=(class) {
            b { (word) }
            span { (why) }
        }
    }
}

/// A headline figure: its name, its value, and a qualification in small print.
pub(crate) type Tile<'a> = (&'a str, String, String);

pub(crate) fn tiles(tiles: &[Tile<'_>]) -> Markup {
    html! {
        dl.tiles {
            @for (name, big, small) in tiles {
                div.tile {
                    dt { (name) }
                    dd.big { (big) }
                    dd.small { (small) }
                }
            }
        }
    }
}

/// The list of warnings; nothing without one.
pub(crate) fn warnings(warnings: &[String]) -> Markup {
    html! {
        @if !warnings.is_empty() {
            ul.warnings aria-label="Warnings" {
                @for warning in warnings { li { (warning) } }
            }
        }
    }
}

/// A column of a table by its title. The first column of a table is always on the left.
#[derive(Clone, Copy)]
pub(crate) enum Column<'a> {
    /// Figures, on the right.
    Figure(&'a str),
    /// Text, on the left.
    Text(&'a str),
}

pub(crate) use Column::{Figure, Text};

/// A table that scrolls by itself in a narrow window. `class` is "dense", "tall" or both.
pub(crate) fn table(label: &str, class: &str, head: &[Column<'_>], rows: Markup) -> Markup {
    html! {
        div class={ "scroll " (class) } tabindex="0" role="region" aria-label=(label) {
            table {
                thead {
                    tr {
                        @for column in head {
                            @match column {
                                Figure(title) => { th scope="col" { (title) } }
                                Text(title) => { th.l scope="col" { (title) } }
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

/// The first cell of a row; hovering over it shows the whole name.
pub(crate) fn row_name(name: &str) -> Markup {
    html! { th scope="row" title=(name) { (name) } }
}

/// A cell with a figure.
pub(crate) fn cell(figure: Option<String>) -> Markup {
    qualified(figure, None)
}

/// A cell with a figure and a qualification in small print.
pub(crate) fn qualified(figure: Option<String>, small: Option<String>) -> Markup {
    annotated(figure, small)
}

/// A cell with a figure and lines in small print.
pub(crate) fn annotated(figure: Option<String>, small: impl IntoIterator<Item = String>) -> Markup {
    html! {
        td {
            (figure.as_deref().unwrap_or(NONE))
            @for line in small { small { (line) } }
        }
    }
}

/// A cell with text that wraps.
pub(crate) fn wrapped(text: &str) -> Markup {
    html! { td.l.wrap { (text) } }
}
