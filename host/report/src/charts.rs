//! The charts: each is drawn from the data for a window, or is absent when there is nothing to draw.

mod cost;
mod device_time;
mod distribution;
mod front;
mod rewards;
mod widths;

use crate::{data::ReportData, html::Markup, svg::Window};

pub(crate) use cost::{macs_against_latency, prediction_against_latency};
pub(crate) use device_time::device_time;
pub(crate) use distribution::distribution;
pub(crate) use front::front;
pub(crate) use rewards::rewards;
pub(crate) use widths::widths;

/// A drawn chart: size and content of its SVG.
pub(crate) struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) content: Markup,
}

/// A chart with what is said about it.
pub(crate) struct Chart<'a> {
    /// Unique within the page.
    pub(crate) id: &'a str,
    pub(crate) title: String,
    /// What it shows, for those who cannot see it, and below the chart for all.
    pub(crate) description: String,
    /// Class of the mark and its meaning.
    pub(crate) legend: Vec<(String, String)>,
    pub(crate) draw: Box<dyn Fn(Window) -> Drawing + 'a>,
}

impl Chart<'_> {
    /// The figure: legend, the drawings for both windows, description.
    pub(crate) fn figure(&self, page: &mut Markup) {
        page.element("figure", &[("class", "chart"), ("id", self.id)], |page| {
            page.line("h3", &[], &self.title);
            if !self.legend.is_empty() {
                page.element("ul", &[("class", "legend")], |page| {
                    for (class, meaning) in &self.legend {
                        page.element("li", &[], |page| {
                            page.element(
                                "svg",
                                &[("viewBox", "0 0 20 12"), ("aria-hidden", "true")],
                                |svg| key(svg, class),
                            );
                            page.text(meaning);
                        });
                    }
                });
            }
            for window in [Window::Wide, Window::Narrow] {
                let drawing = (self.draw)(window);
                let size = format!("0 0 {} {}", drawing.width.round(), drawing.height.round());
                let (title, description) = (
                    format!("{}-{}-t", self.id, window.name()),
                    format!("{}-{}-d", self.id, window.name()),
                );
                let labels = format!("{title} {description}");
                let attributes = [
                    ("class", window.name()),
                    ("viewBox", size.as_str()),
                    ("role", "img"),
                    ("aria-labelledby", labels.as_str()),
                ];
                page.element("svg", &attributes, |svg| {
                    svg.line("title", &[("id", &title)], &self.title);
                    svg.line("desc", &[("id", &description)], &self.description);
                    svg.append(drawing.content);
                });
            }
            page.line("figcaption", &[], &self.description);
        });
    }
}

/// A legend's mark: lines for classes that start with "line", diamonds for "mark", bars for "bar", else a dot.
fn key(svg: &mut Markup, class: &str) {
    if class.starts_with("line") {
        crate::svg::segment(svg, class, (1.0, 6.0), (19.0, 6.0));
    } else if class.starts_with("mark") {
        crate::svg::diamond(svg, class, (10.0, 6.0), 5.0, "");
    } else if class.starts_with("bar") {
        crate::svg::rect(svg, class, (2.0, 2.0), (16.0, 8.0), None);
    } else {
        crate::svg::dot(svg, class, (10.0, 6.0), 4.0, "");
    }
}

/// The strategies in the order they first appear; the index is their colour. Colours end at the sixth.
pub(crate) fn strategies(data: &ReportData) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for candidate in &data.candidates {
        if !names.contains(&candidate.strategy.as_str()) {
            names.push(&candidate.strategy);
        }
    }
    names
}

/// The colour class of a strategy.
pub(crate) fn colour(names: &[&str], strategy: &str) -> String {
    let index = names.iter().position(|name| *name == strategy).unwrap_or(0);
    format!("c{}", index.min(5))
}

/// What hovering over a candidate says.
pub(crate) fn candidate_tip(data: &ReportData, candidate: &crate::Candidate) -> String {
    let mut lines = vec![format!(
        "{} episode {}",
        candidate.strategy, candidate.episode
    )];
    lines.push(format!(
        "accuracy {}",
        crate::format::percent(candidate.accuracy)
    ));
    match candidate.latency_ratio {
        Some(ratio) => lines.push(format!("latency {}", crate::svg::interval(ratio))),
        None => lines.push("latency not measured".to_owned()),
    }
    let macs = crate::format::short(candidate.macs);
    lines.push(match data.macs_ratio(candidate.macs) {
        Some(ratio) => format!("MACs {macs} ({})", crate::format::ratio(ratio)),
        None => format!("MACs {macs}"),
    });
    lines.push(format!(
        "reward {}",
        crate::format::significant(candidate.reward, 4)
    ));
    if candidate.screened {
        lines.push("not measured: it could not win".to_owned());
    } else if !candidate.feasible {
        lines.push("over budget".to_owned());
    }
    lines.join("\n")
}
