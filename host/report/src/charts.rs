//! The charts of a run's report. Each is computed from the data, and absent if there is nothing
//! to draw.

mod cost;
mod device_time;
mod distribution;
mod front;
mod rewards;
mod widths;

use maud::{Markup, html};

use crate::data::{Candidate, ReportData};
use crate::format;
use crate::svg::{Canvas, Frame, Window};

pub(crate) use cost::{macs_against_latency, prediction_against_latency};
pub(crate) use device_time::device_time;
pub(crate) use distribution::distribution;
pub(crate) use front::front;
pub(crate) use rewards::rewards;
pub(crate) use widths::widths;

/// The size and the marks of an SVG.
pub(crate) struct Drawing {
    pub(crate) width: f64,
    pub(crate) height: f64,
    pub(crate) canvas: Canvas,
}

impl Drawing {
    pub(crate) fn framed(frame: &Frame, canvas: Canvas) -> Self {
        Self {
            width: frame.width,
            height: frame.height,
            canvas,
        }
    }
}

/// A chart with its title, legend and description.
pub(crate) struct Chart<'a> {
    /// Unique within the page.
    pub(crate) id: &'a str,
    pub(crate) title: String,
    /// Shown below the chart, and read out by screen readers.
    pub(crate) description: String,
    pub(crate) legend: Legend,
    pub(crate) draw: Box<dyn Fn(Window) -> Drawing + 'a>,
}

/// Pairs of a mark's class and its meaning.
pub(crate) type Legend = Vec<(String, String)>;

/// A legend of fixed entries.
pub(crate) fn legend<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Legend {
    let owned = |(class, meaning): (&str, &str)| (class.to_owned(), meaning.to_owned());
    entries.into_iter().map(owned).collect()
}

impl Chart<'_> {
    /// The legend, the drawings for both windows, and the description.
    pub(crate) fn figure(&self) -> Markup {
        html! {
            figure.chart #(self.id) {
                h3 { (self.title) }
                @if !self.legend.is_empty() {
                    ul.legend {
                        @for (class, meaning) in &self.legend {
                            li { (key(|canvas| mark(canvas, class))) (meaning) }
                        }
                    }
                }
                @for window in [Window::Wide, Window::Narrow] { (self.drawing(window)) }
                figcaption { (self.description) }
            }
        }
    }

    fn drawing(&self, window: Window) -> Markup {
        let drawing = (self.draw)(window);
        let size = (drawing.width.round(), drawing.height.round());
        let id = format!("{}-{}", self.id, window.name());
        let texts = (self.title.as_str(), self.description.as_str());
        svg(window.name(), &id, size, texts, &drawing.canvas)
    }
}

/// An SVG with its accessible texts: title and description.
pub(crate) fn svg(
    class: &str,
    id: &str,
    (width, height): (f64, f64),
    (title, description): (&str, &str),
    canvas: &Canvas,
) -> Markup {
    let (title_id, description_id) = (format!("{id}-t"), format!("{id}-d"));
    html! {
        svg class=(class) viewBox={ "0 0 " (width) " " (height) } role="img"
            aria-labelledby={ (title_id) " " (description_id) } {
            title #(title_id) { (title) }
            desc #(description_id) { (description) }
            (canvas)
        }
    }
}

/// The key of a legend.
pub(crate) fn key(draw: impl FnOnce(&mut Canvas)) -> Markup {
    let mut canvas = Canvas::default();
    draw(&mut canvas);
    html! { svg viewBox="0 0 20 12" aria-hidden="true" { (canvas) } }
}

/// A legend's mark by its class: a line for "line", a diamond for "mark", a bar for "bar", else a
/// dot.
fn mark(canvas: &mut Canvas, class: &str) {
    if class.starts_with("line") {
        canvas.segment(class, (1.0, 6.0), (19.0, 6.0));
    } else if class.starts_with("mark") {
        canvas.diamond(class, (10.0, 6.0), 5.0, "");
    } else if class.starts_with("bar") {
        canvas.rect(class, (2.0, 2.0), (16.0, 8.0), None);
    } else {
        canvas.dot(class, (10.0, 6.0), 4.0, "");
    }
}

/// The least span of an axis of accuracies: the 95 % interval of 0.97 over 1,000 images.
pub(crate) const ACCURACY_NOISE: f64 = 0.02;

/// The strategies of a run in the order of their first candidates, which determines their
/// colours.
pub(crate) struct Strategies<'a>(Vec<&'a str>);

impl<'a> Strategies<'a> {
    pub(crate) fn of(data: &'a ReportData) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for candidate in &data.candidates {
            if !names.contains(&candidate.strategy.as_str()) {
                names.push(&candidate.strategy);
            }
        }
        Self(names)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.0.iter().copied()
    }

    /// The colour class of a strategy; there are six colours.
    pub(crate) fn colour(&self, strategy: &str) -> String {
        let index = self.0.iter().position(|name| *name == strategy);
        format!("c{}", index.unwrap_or(0).min(5))
    }

    /// A dot for each strategy.
    pub(crate) fn legend(&self) -> Legend {
        let entry = |name: &str| (format!("dot {}", self.colour(name)), name.to_owned());
        self.0.iter().copied().map(entry).collect()
    }
}

/// The hover text of a candidate.
pub(crate) fn candidate_tip(data: &ReportData, candidate: &Candidate) -> String {
    let mut lines = vec![
        format!("{} episode {}", candidate.strategy, candidate.episode),
        format!(
            "{} {}",
            data.header.estimate.name,
            format::percent(candidate.accuracy)
        ),
    ];
    lines.push(match candidate.latency_ratio {
        Some(ratio) => format!("latency {}", format::ratio_with_interval(ratio)),
        None => "latency not measured".to_owned(),
    });
    let macs = format::short(candidate.macs);
    lines.push(match data.macs_ratio(candidate.macs) {
        Some(ratio) => format!("MACs {macs} ({})", format::ratio(ratio)),
        None => format!("MACs {macs}"),
    });
    lines.push(format!(
        "reward {}",
        format::significant(candidate.reward, 4)
    ));
    if candidate.screened {
        lines.push("not measured: it could not win".to_owned());
    } else if !candidate.feasible {
        lines.push("over budget".to_owned());
    }
    lines.join("\n")
}
