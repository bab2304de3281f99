//! The explanation as a page.

use maud::{Markup, html};

use super::text::ratio;
use super::{Explanation, chart, groups, layers, operators};
use crate::format::{self, micros};
use crate::html::{Tone, document, facts, figure, footer, section, verdict};

/// Renders an explanation as one HTML file that needs no other file and no network.
pub fn render_explanation(data: &Explanation) -> String {
    let title = format!("{} explained", data.pruned);
    document(&title, head(data), main(data), footer(&data.program))
}

fn main(data: &Explanation) -> Markup {
    let none = "The network has no groups of channels.";
    let by_group = html! {
        (figure(chart::savings(data), "Time saved per group", none))
        (groups::groups(data))
    };
    let others = operators::others(data);
    html! {
        (section("groups", "Groups", by_group))
        (section("others", "Other operators", others))
        (section("layers", "Layers", layers::layers(data)))
    }
}

fn head(data: &Explanation) -> Markup {
    html! {
        h1 { (data.pruned) span.to { " against " } (data.original) }
        (facts([
            ("device", data.device.clone()),
            ("profiles of each network", data.passes.to_string()),
        ]))
        (outcome(data))
        @if !data.notes.is_empty() {
            ul.notes aria-label="Notes" {
                @for note in &data.notes { li { (note) } }
            }
        }
    }
}

/// Slower or faster as far as the interval allows a conclusion.
fn outcome(data: &Explanation) -> Markup {
    let saved = data.saved_ns();
    let (tone, word) = if data.ratio.low > 1.0 {
        (Tone::Bad, "Slower")
    } else if data.ratio.high < 1.0 {
        (Tone::Good, "Faster")
    } else {
        (Tone::Neutral, "As fast")
    };
    let why = format!(
        "{} of the original's latency, {} ms instead of {} ms, {} {}",
        ratio(data.ratio),
        format::millis(data.pruned_ns),
        format::millis(data.original_ns),
        micros(saved.abs()),
        if saved < 0.0 { "more" } else { "less" }
    );
    verdict(tone, word, &why)
}
